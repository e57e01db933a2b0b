"""`explain` tells what conversion changes, also of a model that cannot be converted."""

import pandas
import pytest
import torch
import torchvision
from torch import nn

import mass

X = torch.randn(1, 3, 64, 64)


def test_resnet50():
    table = mass.explain(torchvision.models.resnet50(), X)
    strided = {row["operation"]: row for row in table.rows if row["period"]}
    assert table.convertible and len(strided) == 8
    assert {row["origin"] for row in strided.values()} == {"1", "2", "3", "4", "5"}
    assert strided["layer2.0.conv2"]["origin"] == strided["layer2.0.downsample.0"]["origin"] == "3"
    assert strided["layer2.0.downsample.0"]["changes"] == "origin from the features"
    assert "8 operations with a period in 5 origin groups. 13 more operations: circular border." in table.summary
    assert str(table).count("\n") == 11 and "<table>" in table._repr_html_()
    frame = table.to_dataframe()
    assert isinstance(frame, pandas.DataFrame) and len(frame) == 9


def test_a_refusal_is_explained():
    table = mass.explain(torchvision.models.vgg11(), X)
    assert not table.convertible
    assert "refused: adaptive pooling" in table.rows[-1]["changes"] and not table.rows[-1]["breaks the plain model"]
    assert table.summary.startswith("Cannot be converted: 1 refusal; the first, node 'avgpool'")


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: mass.convert(model, torch.rand(1, 3, 16, 16))])
def test_what_cannot_be_converted_cannot_be_explained(wrap):
    with pytest.raises((TypeError, ValueError), match="convert"):
        mass.explain(wrap(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1)).eval()), torch.rand(1, 3, 16, 16))
