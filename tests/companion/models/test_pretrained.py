"""Published weights: what is not the published file is refused, ahead of reading it."""

import pickle

import pytest
import torch

from companion.core.errors import Refusal
from companion.models import pretrained


class Hostile:
    def __reduce__(self):
        return pytest.fail, ("it ran",)


@pytest.mark.parametrize("content", [b"", b"cut", pickle.dumps(Hostile()), pickle.dumps({"a": torch.zeros(1)})])
def test_other_files_than_the_published_one_are_one_sentence(tmp_path, monkeypatch, content):
    monkeypatch.setattr(pretrained, "find_root", lambda: tmp_path)
    with pytest.raises(Refusal, match="mobilenet_v2-b0353104.pth has not been fetched"):
        pretrained.mobilenet_v2()
    (tmp_path / "data/mobilenet_v2").mkdir(parents=True)
    (tmp_path / "data/mobilenet_v2/mobilenet_v2-b0353104.pth").write_bytes(content)
    with pytest.raises(
        Refusal, match=r"data/mobilenet_v2/mobilenet_v2-b0353104.pth is damaged or another file .*: remove it"
    ):
        pretrained.mobilenet_v2()
