"""`torch.hub.load` of this folder: networks of torchvision and timm, converted."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mass

ROOT = str(Path(__file__).parents[1])


def load(entry, *arguments, **options):
    return torch.hub.load(ROOT, entry, *arguments, source="local", **options)


def test_its_entries_say_what_they_are():
    hub = runpy.run_path(f"{ROOT}/hubconf.py")
    entries = {name: made.__doc__ for name, made in hub.items() if name.startswith("mass_")}
    assert set(entries) == {"mass_mobilenet_v2", "mass_timm", "mass_torchvision"}
    assert all("converted" in told for told in entries.values())


@pytest.mark.parametrize(
    ("entry", "arguments", "options"),
    [
        ("mass_mobilenet_v2", (), {"weights": None}),
        ("mass_torchvision", ("squeezenet1_1",), {}),
        ("mass_timm", ("test_resnet",), {}),
    ],
)
def test_what_is_loaded_is_exact(entry, arguments, options):
    pytest.importorskip(entry.removeprefix("mass_"), exc_type=ImportError) if entry == "mass_timm" else None
    model = load(entry, *arguments, size=64, **options)
    assert not model.training
    assert mass.certify(model, torch.rand(2, 3, 64, 64), shifts=3)


def test_options_are_those_of_convert():
    with pytest.raises(TypeError, match="nonsense"):
        load("mass_torchvision", "squeezenet1_1", size=64, nonsense=True)


def test_it_works_where_nothing_is_installed():
    """As `torch.hub` has it: the folder alone, `mass` not on the path."""
    program = (
        f"import sys; sys.path = [p for p in sys.path if p.rstrip('/') not in ({ROOT!r}, {ROOT + '/src'!r})]; import torch; "
        f"print(torch.hub.load({ROOT!r}, 'mass_torchvision', 'squeezenet1_1', size=64, source='local').__class__.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.split()[-1].endswith("SqueezeNet")
