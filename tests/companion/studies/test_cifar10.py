"""What notebook 05 asks of trained networks: seeds, corruptions, noise; and how its runs are gathered."""

import json
from dataclasses import dataclass, field, replace

import numpy
import pytest
import torch
from scipy import stats
from torch import nn

from companion.core.jobs import EXECUTOR, Resources, run_jobs
from companion.data.corruptions import CORRUPTIONS, corrupt
from companion.data.labelled import Labelled, Split
from companion.measures.noise import labels_under_noise
from companion.measures.paired_t import mass_against_aps, paired_gains
from companion.models.methods import METHODS
from companion.studies.cifar10 import figures as cifar_figures
from companion.studies.cifar10 import recipes
from companion.studies.cifar10 import tables as cifar_tables
from companion.training import sweep
from companion.training.recipe import Recipe, from_arguments, to_arguments
from mass.nn.graph.alignment import SelectOrigin


def records(**values):
    return [
        {"method": method, "seed": seed, "top1": value, "consistency": 90.0 + seed, "net": "resnet20", "epochs": 4,
         "shifted_top1": value}
        for method, column in values.items()
        for seed, value in enumerate(column)
    ]  # fmt: skip


# --- significance


def test_an_interval_is_students_of_the_paired_differences():
    a, b = [70.0, 71.0, 69.5], [71.0, 72.5, 71.0]
    row = paired_gains(records(Baseline=a, MASS=b)).loc["MASS"]
    difference = numpy.array(b) - numpy.array(a)
    half = stats.t.ppf(0.975, 2) * difference.std(ddof=1) / 3**0.5
    assert row["n"] == 3 and row["gain"] == pytest.approx(difference.mean())
    assert (row["low"], row["high"]) == pytest.approx((difference.mean() - half, difference.mean() + half))
    assert row["p"] == pytest.approx(stats.ttest_rel(b, a).pvalue)


@pytest.mark.parametrize(
    "ours, verdict",
    [
        ([72.0, 73.1, 71.4], "better"),
        ([68.0, 69.1, 67.4], "worse"),
        ([70.5, 70.4, 70.1], "not told apart"),
        ([70.0, 71.0, 69.5], "not told apart"),  # the same runs
        ([71.0, 72.0, 70.5], "no spread: no verdict"),  # by exactly one point in every run
        ([75.0], "one seed: no verdict"),
    ],
)
def test_a_verdict_needs_an_interval_on_one_side_of_zero(ours, verdict):
    assert paired_gains(records(Baseline=[70.0, 71.0, 69.5], MASS=ours)).loc["MASS", "verdict"] == verdict


def test_many_comparisons_are_one_family():
    """What is significant alone need not be among eleven (Holm)."""
    baseline = [70.0, 71.0, 69.5]
    found = [71.0, 72.5, 71.0]
    alone = paired_gains(records(Baseline=baseline, MASS=found)).loc["MASS"]
    crowd = {f"other {k}": [70.0 + k / 9, 70.9, 69.6 - k / 7] for k in range(10)}
    among = paired_gains(records(Baseline=baseline, MASS=found, **crowd)).loc["MASS"]
    assert (alone["verdict"], among["verdict"]) == ("better", "not told apart")
    assert alone["p"] == alone["p_holm"] == among["p"] < 0.05 < among["p_holm"]


def test_mass_stands_beside_aps_with_the_same_filter_seeds_and_epochs():
    short = records(APS=[80.0, 81.0, 80.5], MASS=[79.0, 80.1, 79.4], **{"MASS-LPF-3": [82.0]}, Baseline=[70.0])
    long = [row | {"epochs": 250} for row in records(APS=[90.0, 91.0], MASS=[90.5, 91.4])]
    table = mass_against_aps(short + long)
    assert table[["epochs", "method", "against", "n"]].values.tolist() == [
        [4, "MASS", "APS", 3],
        [250, "MASS", "APS", 2],
    ]
    assert table["gain"].tolist() == pytest.approx([-1.0, 0.45]) and (table["p_holm"] >= table["p"]).all()
    assert mass_against_aps(records(MASS=[1.0])).empty


def test_only_common_seeds_are_compared():
    rows = records(Baseline=[70.0, 71.0], MASS=[70.0])
    rows.append(rows[-1] | {"seed": 5, "top1": 90.0})
    assert paired_gains(rows).loc["MASS", ["n", "gain"]].tolist() == [1, 0.0]


# --- corruptions and noise


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_corruption_keeps_shape_and_bytes_and_repeats_itself(kind):
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    once = corrupt(images, kind)
    assert once.dtype == torch.uint8 and once.shape == images.shape
    assert torch.equal(once, corrupt(images, kind))
    assert torch.equal(once, images) == (kind == "none")


class Bright(nn.Module):
    """Label 1 when the first pixel is above grey; one origin group, of whose choice it makes nothing."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.mass_origin_1 = SelectOrigin((2, 2), rule)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.mass_origin_1(x)
        bright = (x[:, 0, 0, 0] > 0).float()
        return torch.stack((0.5 - bright, bright - 0.5), 1)


@pytest.mark.parametrize("rule", ["l2", "zero"])
def test_labels_and_origins_under_noise_are_counted(rule):
    images = torch.full((200, 1, 4, 4), 128, dtype=torch.uint8)
    images[:, :, 0, 0] = 129  # one grey level decides; the brightest phase is (0, 0) by as much
    split = Split(images, torch.ones(200, dtype=torch.int64))
    data = Labelled(split, split, (128 / 255,), (1.0,))
    still, noisy = (
        labels_under_noise(Bright(rule), split.batches(64), data.normalize, noise).shares() for noise in (0.0, 8.0)
    )
    assert still["n"] == 200 and still["top1"] == 100 and still["changed_by_noise"] == 0
    assert 25 < noisy["changed_by_noise"] < 65 and noisy["top1"] == pytest.approx(100 - noisy["changed_by_noise"])
    assert ("moved_origins" in noisy) == (rule == "l2")
    if rule == "l2":
        assert still["moved_origins"] == 0 and noisy["moved_origins"] > 50


def test_another_rule_is_another_copy():
    model = METHODS["mass"].build("digits", 0).eval()
    changed = METHODS["mass"].with_rule(model, "linf")
    rules = lambda m: {layer.rule for layer in m.modules() if isinstance(layer, SelectOrigin)}
    assert (rules(model), rules(changed)) == ({"l2"}, {"linf"})
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(changed(x), changed(x.roll((1, 3), (2, 3))))


# --- gathering runs


@dataclass
class Settings:
    seed: int = 3
    dataset: str = "digits"
    nets: tuple = ("digits",)
    methods: tuple = ("baseline", "mass", "lpf3")
    seeds: int = 1
    compared: tuple = ("baseline", "mass")
    compared_seeds: int = 2
    epochs: int = 1
    batch: int = 64
    precision: str = "float32"
    trained_net: str = "digits"
    trained_weights: str = "weights.pt"
    finetune_epochs: int = 1
    finetune_lr: float = field(default=0.01)


def test_every_method_has_its_first_run_before_any_has_its_second():
    runs = [(recipe.method, recipe.seed) for recipe in recipes.table_2_recipes(Settings())]
    assert runs == [("baseline", 3), ("mass", 3), ("lpf3", 3), ("baseline", 4), ("mass", 4)]


def test_fine_tuning_starts_from_the_weights_at_its_own_rate():
    (recipe,) = recipes.fine_tuned(Settings(), ["mass"])
    assert (recipe.start, recipe.lr, recipe.epochs) == ("weights.pt", 0.01, 1)
    assert recipe.name == "digits/digits/mass/1-epochs-from-weights/seed-3"


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(flip=False, start="a/b.pt", lr=1e-3, net="digits", seed=7)])
def test_a_recipe_survives_the_command_line(recipe):
    assert from_arguments("", to_arguments(recipe))[0] == recipe


@pytest.mark.parametrize("jobs", [1, 2])
def test_runs_are_trained_once_and_named_as_printed(jobs, tmp_path):
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    recipes = [Recipe(net="digits", dataset="digits", method=m, epochs=1, batch=64) for m in ("mass", "baseline")]
    first = sweep.run_all(recipes, tmp_path, tmp_path / "checkpoints", jobs)
    assert [record["method"] for record in first] == ["MASS", "Baseline"]
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert sweep.run_all(recipes, tmp_path, tmp_path / "checkpoints", jobs) == first
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(sweep.Refusal, match="holds a run of another recipe .lr 0.2, not 0.1"):
        sweep.run_all([replace(recipes[0], lr=0.1)], tmp_path, tmp_path / "checkpoints", jobs)
    (point, _) = sweep.curves(recipes, tmp_path / "checkpoints")
    assert point["epoch"] == 1 and point["method"] == "MASS"
    json.dumps(first, allow_nan=False)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_stops_says_why(jobs, tmp_path):
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    recipe = Recipe(net="digits", dataset="digits", method="mass", epochs=1, batch=64, start="nowhere.pt")
    with pytest.raises(sweep.Refusal, match=r"There are no weights at .*nowhere\.pt"):
        sweep.run_all([recipe], tmp_path, tmp_path / "checkpoints", jobs)


def test_jobs_of_another_executor_end_in_the_same_records(tmp_path, monkeypatch):
    """Processes of submitit share the folder of runs: records are those of a run here, but for when and how fast."""
    pytest.importorskip("submitit")
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    plans = [Recipe(net="digits", dataset="digits", method=m, epochs=1, batch=64) for m in ("mass", "baseline")]
    here = sweep.run_all(plans, tmp_path, tmp_path / "here")
    monkeypatch.setenv(EXECUTOR, "local cpus=1")
    jobs = sweep.run_all(plans, tmp_path, tmp_path / "jobs")
    measured = ("method", "top1", "shifted_top1", "consistency")
    assert [[row[key] for key in measured] for row in jobs] == [[row[key] for key in measured] for row in here]
    with pytest.raises(sweep.Refusal, match=r"1 of 1 jobs stopped: .*There are no weights at .*nowhere\.pt"):
        sweep.run_all([replace(plans[0], start="nowhere.pt")], tmp_path, tmp_path / "jobs")
    monkeypatch.setenv(EXECUTOR, "dry-run gpus=2 hours=8 partition=long")
    with pytest.raises(sweep.Refusal, match=r"1 jobs would be sent; their batch scripts are in runs/\.jobs/"):
        sweep.run_all([replace(plans[0], seed=5)], tmp_path, tmp_path / "jobs")
    (script,) = (tmp_path / "runs" / ".jobs").glob("*.sh")
    text = script.read_text()
    for line in ("#SBATCH --gpus-per-node=2", "#SBATCH --partition=long", "#SBATCH --time=480", "--seed=5"):
        assert line in text
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv(EXECUTOR, "slurm")
    with pytest.raises(sweep.Refusal, match="There is no Slurm here"):
        sweep.run_all([replace(plans[0], seed=5)], tmp_path, tmp_path / "jobs")


def test_a_slurm_job_is_waited_for(tmp_path, monkeypatch):
    """With an sbatch that runs the script it is given and ends as it does, as `sbatch --wait` is documented to."""
    pytest.importorskip("submitit")
    programs = {"sbatch": '[ "$1" = --wait ] && exec bash "$2"', "srun": 'shift 5; exec "$@"'}  # srun's five options
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    ends = run_jobs({"well": ["touch", "made"], "ill": ["false"]}, tmp_path / "jobs", Resources("slurm"), tmp_path)
    assert not ends["well"].why and ends["ill"].why and (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("cluster", "There is no executor named 'cluster'; known: here, local, slurm, dry-run"),
        ("slurm gpus", "'gpus' says nothing of a job"),
        ("slurm gpus=two", "'gpus=two' says nothing of a job"),
        ("slurm memory=4", "'memory=4' says nothing of a job: after the executor come nodes=, gpus="),
        ("slurm hours=0", "A job's hours must be positive, not 0"),
    ],
)
def test_words_that_say_nothing_of_a_job(words, says):
    with pytest.raises(sweep.Refusal, match=says):
        Resources.read(words)


def test_the_table_has_no_number_of_the_papers():
    table = cifar_figures.table_of_runs(records(Baseline=[70.0, 71.0], MASS=[72.0], LPS=[60.0]), "resnet20")
    assert table.loc["Baseline", "top-1"] == "70.50 ± 0.71" and table.loc["MASS", "top-1"] == "72.00"
    assert list(table.columns) == ["epochs", "n", "top-1", "shifted top-1", "consistency"]


def test_in_no_table_do_fewer_epochs_stand_beside_the_papers(root):
    """Two tables: what was trained as published, with the paper's values, and what was not, without."""
    short, long = cifar_tables.cifar10(root), cifar_tables.cifar10_paper(root)
    assert "Paper" not in short.splitlines()[0] and "| 250 |" not in short
    assert "Paper's top-1" in long.splitlines()[0] and "| 13 |" not in long
    assert "bfloat16" in short and "bfloat16" in long and "index before the filter" in short
