"""Shares of pixels, image by image: whom does each image favour?"""

import torch

from companion.measures.paired_images import compare_shares, signed_rank


def test_what_every_image_says_is_told():
    before = torch.rand(40, generator=torch.Generator().manual_seed(0)) * 50
    found = signed_rank(before, before + 1)
    assert found["n"] == 40
    assert abs(found["difference"] - 1) < 1e-5
    assert found["p"] < 1e-6
    assert abs(found["after"] - found["before"] - 1) < 1e-5


def test_what_images_do_not_say_is_not_told():
    same = torch.rand(40)
    assert signed_rank(same, same)["p"] == 1
    noise = torch.randn(40, generator=torch.Generator().manual_seed(0))
    found = signed_rank(same, same + noise)
    assert found["p"] > 0.05
    assert found["low"] < 0 < found["high"]


def test_a_family_is_corrected_for_all_its_rows():
    shares = {"a": torch.arange(20.0), "b": torch.arange(20.0) + torch.arange(20.0) / 10, "c": torch.arange(20.0)}
    rows = compare_shares(shares, [("b", "a"), ("c", "a")])
    assert [(row["method"], row["against"]) for row in rows] == [("b", "a"), ("c", "a")]
    assert rows[0]["p_holm"] == min(1, 2 * rows[0]["p"])
    assert rows[1]["p_holm"] == 1
