"""The library is light: torch alone, nothing of the paper's machinery."""

import subprocess
import sys

import mass


def test_importing_mass_loads_no_heavy_package():
    heavy = [
        "onnx",
        "lightning",
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


def test_a_first_conversion_does_not_import_the_compiler():
    """Which takes longer than all else that it does together: seconds, in which nothing is said."""
    program = """
import sys, torch, mass
layers = torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.MaxPool2d(2)
model = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 5)).eval()
x = torch.randn(2, 3, 32, 32)
converted = mass.convert(model, x)
assert mass.certify(converted, x, shifts=3)
with torch.no_grad():
    assert torch.equal(converted(x), converted(x.roll(5, 3)))
print(*sorted({"torch._dynamo", "torch._inductor", "sympy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
