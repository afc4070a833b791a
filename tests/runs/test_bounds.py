"""Kept bounds stand beside the run that they are of, and beside no other."""

import importlib
import json

import pytest

from aals_jax.report import bounds as shown
from aals_jax.runs import bounds, identity
from configs import rib

ENTRY = {"value": 0.7, "low": 0.6, "high": 0.8, "definition": "as told"}


def result(method, *, auroc, froc_count, seed=0, data_hash="films"):
    config = rib.get_config()
    config.method, config.seed = method, seed
    values = {"auroc": auroc, "froc_count": froc_count}
    return {
        "method": method,
        "run_version": identity.VERSION,
        "config": identity.of(config),
        "data": {"data_hash": data_hash},
        "metrics": {
            shown.SHOWN: {k: ENTRY | {"value": v} for k, v in values.items()},
        },
    }


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "FILE", tmp_path / "bounds.json")
    entry = bounds.keep(
        result("supervised", auroc=0.8, froc_count=0.5),
        result("oracle", auroc=0.83, froc_count=0.65),
        "Kept.",
    )
    bounds.FILE.write_text(json.dumps(entry))


def beside(config, data_hash="films"):
    return bounds.beside(identity.of(config), data_hash)


def test_a_run_of_any_method_has_the_bounds_of_its_recipe(kept, monkeypatch):
    config = rib.get_config()
    for method in ("aals", "mean_teacher", "oracle", "fcos"):
        config.method = method
        found = beside(config)
        assert found and found["metrics"]["oracle"]["froc_count"]["value"] == 0.65
    assert beside(config, data_hash="others") is None
    config.distill.steps += 1
    assert beside(config) is None
    monkeypatch.setattr(identity, "VERSION", identity.VERSION + 1)
    assert beside(rib.get_config()) is None


def test_only_two_bounds_of_one_recipe_and_one_set_of_films_are_kept():
    low = result("supervised", auroc=0.8, froc_count=0.5)
    for high in (
        result("aals", auroc=0.9, froc_count=0.6),
        result("oracle", auroc=0.9, froc_count=0.6, seed=1),
        result("oracle", auroc=0.9, froc_count=0.6, data_hash="others"),
    ):
        with pytest.raises(ValueError, match=r"is given as|differ in"):
            bounds.keep(low, high, "Kept.")


@pytest.mark.parametrize(
    ("auroc", "froc_count", "told"),
    [(0.83, 0.65, "There is room"), (0.84, 0.5, "There is room"), (0.83, 0.59, "no h")],
)
def test_the_page_says_whether_there_is_room(auroc, froc_count, told):
    low = result("supervised", auroc=0.8, froc_count=0.5)
    high = result("oracle", auroc=auroc + 1e-9, froc_count=froc_count)
    (entry,) = bounds.keep(low, high, "Kept.").values()
    entry["verdict"] = bounds.verdict(entry["metrics"])
    own = result("aals", auroc=0.81, froc_count=0.55) | {"bounds": entry}
    view = shown.view(own)
    assert view and told in view.verdict
    assert [name for name, _ in view.grid.columns] == ["supervised", "aals", "oracle"]
    assert [row.cells[1].entry.value for row in view.grid.rows] == ["0.810", "0.550"]
    low |= {"bounds": entry}
    view = shown.view(low)
    assert view and [name for name, _ in view.grid.columns] == ["supervised", "oracle"]
    assert shown.view(low | {"bounds": None}) is None


def test_what_is_kept_is_of_the_recipes_as_they_are():
    """A changed config has other bounds: measure them again, see keep_bounds.py."""
    recipes = set()
    for name in ("rib", "clavicle"):
        for seed in (0, 1):
            config = importlib.import_module(f"configs.{name}").get_config()
            config.seed = seed
            recipes.add(bounds.recipe(identity.of(config)))
    kept = json.loads(bounds.FILE.read_text())
    assert kept.keys() <= recipes
    assert {entry["run_version"] for entry in kept.values()} <= {identity.VERSION}
