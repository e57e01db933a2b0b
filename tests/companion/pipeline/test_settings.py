"""params.yaml: what is read, and what is refused."""

from pathlib import Path

import pytest
from dvc.dependency.param import read_param_file
from dvc.fs import LocalFileSystem

from companion.core.errors import Refusal
from companion.core.published import PROFILES
from companion.pipeline.settings import NOTEBOOKS, choose_profile, load_config

LAYER = "02_mass_layer: {seed: 0, size: 64, shifts: 8}"
TRANSFER = "06_weight_transfer: {seed: 0, size: 224, images: 4, moved: 2, batch: 2, noise: 1e-3}"


def write(folder: Path, text: str) -> Path:
    (folder / "params.yaml").write_text(text, encoding="latin-1")
    return folder


def read(folder: Path, notebook: str, profiles: str = "[quick]"):
    return load_config(write(folder, f"profiles: {profiles}\nquick:\n  {notebook}\n"))


def test_the_projects_own_settings_are_complete(root):
    config = load_config(root)
    assert set(config.settings) == set(PROFILES)
    for notebooks in config.settings.values():  # a stage whose settings are not there would stop `dvc repro`
        assert set(notebooks) == set(NOTEBOOKS)


INHERITING = """profiles: [quick]
quick: &quick
  02_mass_layer: &layer {seed: 0, size: 64, shifts: 8}
  13_paper_and_errata: {seed: 0}
paper:
  <<: *quick
  02_mass_layer: {<<: *layer, size: 224}
"""


def test_a_profile_inherits_what_it_does_not_say(tmp_path):
    config = load_config(write(tmp_path, INHERITING))
    assert config.of("13_paper_and_errata", "paper") == config.of("13_paper_and_errata", "quick")
    layer = config.of("02_mass_layer", "paper")
    assert (layer.seed, layer.size, layer.shifts) == (0, 224, 8)


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("shifts: 8", "shifts: 9", {"quick.02_mass_layer", "paper.02_mass_layer"}),  # what both have
        ("size: 64", "size: 65", {"quick.02_mass_layer"}),  # what the one replaces
        ("size: 224", "size: 225", {"paper.02_mass_layer"}),
        ("errata: {seed: 0}", "errata: {seed: 1}", {"quick.13_paper_and_errata", "paper.13_paper_and_errata"}),
    ],
)
def test_dvc_sees_exactly_the_blocks_whose_values_change(tmp_path, old, new, changed):
    tracked = [
        f"{profile}.{name}" for profile in ("quick", "paper") for name in ("02_mass_layer", "13_paper_and_errata")
    ]

    def read_by_dvc(text: str) -> dict:
        return read_param_file(LocalFileSystem(), str(write(tmp_path, text) / "params.yaml"), tracked, flatten=True)

    before, after = read_by_dvc(INHERITING), read_by_dvc(INHERITING.replace(old, new))
    assert {key for key in tracked if before[key] != after[key]} == changed


def test_scientific_notation_is_a_number(tmp_path):
    assert read(tmp_path, TRANSFER).of("06_weight_transfer", "quick").noise == 1e-3


def test_an_integer_serves_as_a_float(tmp_path):
    noise = read(tmp_path, TRANSFER.replace("1e-3", "2")).of("06_weight_transfer", "quick").noise
    assert noise == 2.0 and isinstance(noise, float)


def test_settings_are_frozen(tmp_path):
    with pytest.raises(AttributeError):
        read(tmp_path, LAYER).of("02_mass_layer", "quick").size = 1


@pytest.mark.parametrize(
    ("notebook", "sentence"),
    [
        (LAYER.replace("size", "sise"), "no setting 'sise'; known: seed, size, shifts"),
        (LAYER.replace(", shifts: 8", ""), "lacks the setting 'shifts'"),
        (LAYER.replace("8", "8.5"), "shifts must be int, not 8.5"),
        (LAYER.replace("8", "'8'"), "shifts must be int, not '8'"),
        (LAYER.replace("8", "true"), "shifts must be int, not True"),
        (LAYER.replace("02_mass_layer", "02_mass"), "no notebook .* named '02_mass'"),
        (LAYER.replace("}", ""), "params.yaml cannot be read"),
        ("02_mass_layer: 3", "quick.02_mass_layer must be a block of settings, not 3"),
        ("02_mass_layer: []", r"quick.02_mass_layer must be a block of settings, not \[\]"),
        (LAYER.replace("64", "63"), "size must be a multiple of 32, the networks' total stride, not 63"),
        (LAYER.replace("64", "-64"), "size must be a number from 0 on, not -64"),
        (LAYER.replace("64", "0"), "size must be a multiple of 32, the networks' total stride, not 0"),
        (LAYER.replace("seed: 0", "seed: -1"), "seed must be a number from 0 on, not -1"),
        (LAYER.replace("seed: 0", f"seed: {10**20}"), "seed must be at most 16,777,215, not 100000000000000000000"),
        (TRANSFER.replace("1e-3", ".nan"), "noise must be a number from 0 on, not nan"),
        (LAYER.replace("seed", "1"), "has no setting 1; known: seed"),
        (LAYER + "\n  x: \xff", "params.yaml cannot be read: 'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, notebook, sentence):
    with pytest.raises(Refusal, match=sentence):
        read(tmp_path, notebook)


@pytest.mark.parametrize("profiles", ["", "quick", "[]"])
def test_profiles_must_be_a_list(tmp_path, profiles):
    with pytest.raises(Refusal, match=r"profiles: \[quick\]"):
        read(tmp_path, LAYER, profiles)


def test_an_unknown_profile_is_refused(tmp_path):
    with pytest.raises(Refusal, match="no profile in params.yaml named 'papper'; known: quick"):
        read(tmp_path, LAYER, "[papper]")
    with pytest.raises(Refusal, match=r"no profile in params.yaml named \[1\]; known: quick"):
        read(tmp_path, LAYER, "[[1]]")
    with pytest.raises(Refusal, match="no notebook of quick named '03_lattices'"):
        read(tmp_path, LAYER).of("03_lattices", "quick")


def test_choosing_a_profile_rewrites_one_line(tmp_path):
    text = f"# kept\nprofiles: [quick] \nquick:\n  {LAYER}\nreduced:\n  {LAYER}  # kept too\n"
    write(tmp_path, text)
    assert choose_profile(tmp_path, "reduced")
    assert (tmp_path / "params.yaml").read_text() == text.replace("[quick] ", "[reduced]")
    assert not choose_profile(tmp_path, "reduced")
    with pytest.raises(Refusal, match="known: quick, reduced"):
        choose_profile(tmp_path, "paper")
