"""The library is light: torch alone, nothing of the paper's machinery."""

import subprocess
import sys

import mass


def test_importing_mass_loads_no_heavy_package():
    heavy = [
        "onnx",
        "seaborn",
        "pandas",
        "dvc",
        "papermill",
        "timm",
        "segmentation_models_pytorch",
        "torchvision",
        "sklearn",
        "matplotlib",
        "companion",
    ]
    program = f"import sys, mass, mass.baselines; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_exists_and_is_documented():
    for name in mass.__all__:
        public = getattr(mass, name)
        if callable(public):
            assert public.__doc__ and len(public.__doc__) > 40, name
