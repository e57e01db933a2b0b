"""The questions of notebook 11, each a list of rows; what is trained stays in its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from companion.data.datasets import DATASETS
from companion.data.generated.periodic import Photographs
from companion.data.generated.periodic_sets import SIDE, TRAINED
from companion.data.labelled import Labelled
from companion.fetching.catalogue import fingerprint
from companion.models.methods import METHODS
from companion.studies.periodic import boards as circuit_boards
from companion.studies.periodic import selection, whole
from companion.studies.periodic.recipes import recipes
from companion.studies.periodic.worst_case import attack
from companion.training.recipe import Recipe
from companion.training.record_run import trained
from companion.training.sweep import run_all

Rows = list[dict[str, Any]]
_CELL_METHODS = ("baseline-zero", "baseline", "baseline-shifts", "lpf3", "mass")


def about(recipe: Recipe) -> dict[str, Any]:
    """What a row says of a run."""
    return {
        "method": METHODS[recipe.method].printed,
        "dataset": recipe.dataset,
        "net": recipe.net,
        "seed": recipe.seed,
        "epochs": recipe.epochs,
    }


def _labelled(name: str, root: Path) -> Labelled:
    data = DATASETS[name](root)
    assert isinstance(data, Labelled)
    return data


def _networks(made: list[Recipe], root: Path, folder: Path) -> dict[Recipe, nn.Module]:
    run_all(made, root, folder)
    return {recipe: trained(folder / recipe.name)[0] for recipe in made}


def trained_on(dataset: str, settings: Any, root: Path, folder: Path) -> dict[str, nn.Module]:
    """The compared methods trained on another data set, by their printed names; first seed."""
    made = _networks(recipes(settings, settings.compared, dataset), root, folder)
    return {METHODS[recipe.method].printed: network for recipe, network in made.items()}


def pitches(settings: Any, root: Path, folder: Path) -> Rows:
    """Worst case, margin at the first origin, and answers under noise, by pitch; first seed."""
    rows = []
    for cells in settings.cells:
        name = "periodic" if cells == SIDE // 8 else f"periodic-{cells}-cells"
        data = _labelled(name, root)
        for recipe, network in _networks(recipes(settings, settings.compared, name), root, folder).items():
            noisy = selection.under_noise(network, data, settings.noise, settings.probed)
            shares: dict[str, Any] = {key: noisy[key] for key in ("changed_by_noise", "moved_origins") if key in noisy}
            if "moved_origins" in noisy:
                shares["margin"] = selection.first_margin(network, data, settings.probed)
            found = attack(network, data.test.first(settings.probed), data.normalize).row()
            rows.append({"pitch": SIDE / cells} | about(recipe) | found | shares | {"noise": settings.noise})
    return rows


def lengths(settings: Any, root: Path, folder: Path) -> Rows:
    """Worst case by training steps: shifts in training, against MASS without; first seed."""
    rows = []
    for epochs in settings.lengths:
        made = recipes(settings, ("baseline-shifts", "mass"), epochs=epochs)
        data = _labelled("periodic", root)
        for recipe, network in _networks(made, root, folder).items():
            steps = epochs * (TRAINED // recipe.batch)
            row = about(recipe) | attack(network, data.test.first(settings.probed), data.normalize).row()
            rows.append({"stage": "length", "input": f"{epochs} epochs", "steps": steps} | row)
    return rows


def few(settings: Any, root: Path, folder: Path) -> Rows:
    """Worst case by the number of training images, in as many steps; first seed."""
    rows = []
    for images in (*settings.few, TRAINED) if settings.few else ():
        name = "periodic" if images == TRAINED else f"periodic-{images}-images"
        data = _labelled(name, root)
        made = recipes(settings, (*settings.compared, "baseline-shifts"), name)
        for recipe, network in _networks(made, root, folder).items():
            row = about(recipe) | attack(network, data.test.first(settings.probed), data.normalize).row()
            rows.append({"stage": "few images", "images": images} | row)
    return rows


def located(networks: Mapping[str, nn.Module], data: Labelled, photo: Photographs) -> Rows:
    """Whether heat maps move along, fit their tiles, and find defects, by method (those of `heat_of`)."""
    x = data.normalize(photo.images)
    rows = []
    for method, heat_map in _heat_maps(networks, x).items():
        exact = whole.exactness(heat_map, photo.images, data, photo.images.shape[3] // 2, (3, 5))
        rows.append({"method": method} | exact | whole.detections(whole.in_pixels(heat_map, x), photo.defects[0]))
    return rows


def heat_of(networks: Mapping[str, nn.Module], data: Labelled, images: Tensor) -> list[tuple[str, Tensor]]:
    """Heat in pixels, by method."""
    x = data.normalize(images)
    return [(method, whole.in_pixels(heat_map, x)) for method, heat_map in _heat_maps(networks, x).items()]


def _heat_maps(networks: Mapping[str, nn.Module], x: Tensor) -> dict[str, nn.Module]:
    return {method: whole.heat_map(network, x, method) for method, network in networks.items()}


def solar_cells(settings: Any, root: Path, folder: Path) -> Rows:
    """Worst case on solar cells; none where this is not run."""
    if not settings.cell_epochs:
        return []
    data = _labelled("solar-cells-64", root)
    made = recipes(settings, _CELL_METHODS, "solar-cells-64", epochs=settings.cell_epochs)
    networks = _networks(made, root, folder)
    facts = {"stage": "worst case", "dataset_sha256": fingerprint("elpv")}
    return [
        facts | about(recipe) | attack(network, data.test.first(settings.probed), data.normalize).row()
        for recipe, network in networks.items()
    ]


def boards(settings: Any, root: Path, folder: Path) -> Rows:
    """Circuit boards, template and test apart by 0 to 32 pixels; none where this is not run."""
    if not settings.pair_epochs:
        return []
    epochs, net = settings.pair_epochs, "periodic-pairs"
    stacked = _networks(
        recipes(settings, ("baseline-zero", "mass"), "deeppcb-pairs", net=net, epochs=epochs), root, folder
    )
    (differing,) = _networks(
        recipes(settings, ("baseline-zero",), "deeppcb-differences", epochs=epochs), root, folder
    ).values()
    named = {f"both, {METHODS[recipe.method].printed}": network for recipe, network in stacked.items()}
    both = _labelled("deeppcb-pairs", root), _labelled("deeppcb-differences", root)
    found = circuit_boards.against_misregistration(named, differing, both, root, 150)
    return [{"stage": "boards", "dataset": "deeppcb", "epochs": epochs} | row for row in found]
