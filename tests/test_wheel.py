"""What is installed: a wheel with the library alone, its C++ sources included, that works beside torch and nothing else."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import mass
from mass import native

ROOT = Path(__file__).parents[1]
SOURCES = {
    file.relative_to(ROOT / "src").as_posix()
    for file in (ROOT / "src/mass").rglob("*")
    if file.suffix in (".py", ".cpp", ".h")
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    done = subprocess.run([sys.executable, "-c", build], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = (tree / "dist").glob("*.whl")
    return file


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A folder with the wheel, unpacked, and one with torch and what torch requires."""
    unpacked, torch_alone = (tmp_path_factory.mktemp(name) for name in ("wheel", "torch"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    left, seen = ["torch"], set()
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # required on other platforms
            continue
        left += [re.match(r"[\w.-]+", text).group() for text in package.requires or () if "extra ==" not in text]
        for top in {file.parts[0] for file in package.files or ()}:
            if top not in ("..", "__pycache__") and not (torch_alone / top).exists():
                (torch_alone / top).symlink_to(package.locate_file(top))
    return unpacked, torch_alone


def test_the_wheel_holds_the_library_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    held = {name for name in names if ".dist-info/" not in name}
    assert held == SOURCES
    assert any(name.endswith(".cpp") for name in held) and any(name.endswith(".h") for name in held)


def test_it_works_in_an_empty_environment_with_torch(environment, tmp_path):
    program = f"""
import sys
sys.path[:0] = {[str(folder) for folder in environment]!r}
import torch, mass
from mass import native
model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)).eval()
converted = mass.convert(model, torch.rand(2, 3, 16, 16))
print(mass.__file__)
print(mass.certify(converted, torch.rand(2, 3, 16, 16)).identical.tolist(), native.kernels() is not None)
for name in ("companion", "numpy"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        print("no", name)
"""
    command = [sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    file, certified, *others = done.stdout.split("\n")
    assert Path(file).is_relative_to(environment[0])
    assert certified == f"[True, True] {native.kernels() is not None}"
    assert others[:2] == ["no companion", "no numpy"]


def test_the_library_knows_its_version():
    assert mass.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
