"""Where a run computes, and what code it says it is."""

import torch

from companion.core.device import at_hand
from companion.core.provenance import provenance


def test_code_without_its_git_says_what_it_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("MASS_COMMIT", raising=False)
    facts = provenance(tmp_path)
    assert facts["commit"] is None and facts["modified"] is None
    monkeypatch.setenv("MASS_COMMIT", "c0ffee")
    facts = provenance(tmp_path)
    assert facts["commit"] == "c0ffee" and facts["modified"] is False


def test_its_own_git_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("MASS_COMMIT", "c0ffee")
    monkeypatch.setattr("companion.core.provenance._git", lambda root, *asked: "beef" if "HEAD" in asked else "")
    facts = provenance(tmp_path)
    assert facts["commit"] == "beef" and facts["modified"] is False


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
