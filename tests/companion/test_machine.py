"""Where a run computes, and what code it says it is."""

from pathlib import Path

import pytest
import torch

from companion.core.device import at_hand
from companion.core.errors import Refusal
from companion.core.provenance import any_modified, provenance

ROOT = Path(__file__).parents[2]


def test_code_without_its_git_says_what_it_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("MASS_COMMIT", raising=False)
    facts = provenance(tmp_path)
    assert facts["commit"] is None and facts["modified"] is None
    monkeypatch.setenv("MASS_COMMIT", "c0ffee1")
    facts = provenance(tmp_path)
    assert facts["commit"] == "c0ffee1" and facts["modified"] is None  # nobody can tell


@pytest.mark.parametrize("told", ["not a commit at all", "c0ffee", "main", "0" * 41])
def test_what_is_no_commit_is_refused(tmp_path, monkeypatch, told):
    monkeypatch.setenv("MASS_COMMIT", told)
    with pytest.raises(Refusal, match=f"MASS_COMMIT must be a commit, 7 to 40 hexadecimal digits .*not '{told}'"):
        provenance(tmp_path)


@pytest.fixture
def in_git(monkeypatch):
    """Any folder is a clean clone."""
    monkeypatch.setattr("companion.core.provenance._git", lambda root, *asked: "beef" if "HEAD" in asked else "")


def test_its_own_git_comes_first(monkeypatch, in_git):
    monkeypatch.setenv("MASS_COMMIT", "c0ffee1")
    facts = provenance(ROOT)
    assert facts["commit"] == "beef" and facts["modified"] is False


def test_code_of_another_checkout_is_not_named_by_this_ones_commit(tmp_path, in_git):
    with pytest.raises(Refusal, match="This Python's `companion` belongs to another checkout of the project"):
        provenance(tmp_path)


def test_several_codes_are_changed_if_one_is_and_unchanged_if_all_are_known_to_be():
    assert any_modified([False, None, True]) is True
    assert any_modified([False, None]) is None
    assert any_modified([False, False]) is False


def test_the_device_is_this_process_s_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert at_hand() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "2")
    before = torch.backends.cudnn.allow_tf32
    try:
        assert at_hand() == torch.device("cuda", 2) and not torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before
