"""The second study, of docs/headroom.md: who fills the gap that boxes would fill?

    python launch.py --mode=sweep --sweep configs/sweeps/headroom.py:ribs --workdir DIR
    python launch.py --mode=study --sweep configs/sweeps/headroom.py --workdir DIR \\
        --results docs/headroom/results --out docs/headroom.md

Parts are joined by `+`. A number after a comma takes one world alone, which is a drawn
registry of its own: `headroom.py:ribs+regions,0`; all parts of a world share its films.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aals_jax.method.methods import METHODS
from configs import base
from configs.sweeps import study

LAYOUT = "headroom"  # of its pages: aals_jax.study.page.LAYOUTS
WORLDS = 5
FIRST_WORLD = 20  # phantom.seed of world 0; lower ones were used for development
REGION = 16  # images of R where nothing else is said
SHARPENINGS = {  # a0, t, share of P that may lie below t
    "aals 4/0.4": ("aals", 4.0, 0.4, 0.0),
    "aals 8/0.2": ("aals", 8.0, 0.2, 0.0),
    "aals 4/0.1": ("aals", 4.0, 0.1, 0.0),
    "aals 4/0.4, dead_share=0.2": ("aals", 4.0, 0.4, 0.2),
    "asymmetric 4/0.4": ("asymmetric", 4.0, 0.4, 0.0),
}
# The bounds, the controls, and the rows that the claim is about.
MAIN = ("supervised", "regularised", "oracle", "control", "mean_teacher", *SHARPENINGS)
FEW = ("supervised", "oracle", "aals 8/0.2")  # over R, and where little is to be seen
OTHERS = tuple(name for name in METHODS if name not in {*MAIN, "aals", "asymmetric"})
# Learning rate of stage 2 and weight of the term on P, the best on validation of the
# first four points of configs/sweeps/fair.py:rib,easy,short (docs/methods.md); a method
# that is not named keeps the config's.
TUNED: Mapping[str, tuple[float, float]] = {
    "supervised": (0.0017, 1.0),
    "regularised": (0.00047, 1.0),
    "oracle": (0.00072, 2.2),
    "control": (0.0017, 0.46),
    "mean_teacher": (0.0017, 13.8),
    "aals": (0.0017, 0.46),
    "asymmetric": (0.0017, 0.46),
}


def world(number: int, finding: str, region: int, difficulty: str = "easy") -> Any:
    """The config that every row starts from in one world."""
    config = base.get_config(finding)
    config.seed = config.data.seed = number
    config.data.update(region_images=region, threads=1)
    config.phantom.update(
        images=13_000,
        prevalence=0.1,
        difficulty=difficulty,
        seed=FIRST_WORLD + number,
        region_images=None,
    )
    config.batch.update(region=4, negative=16, image_level=8)
    config.pretrain.update(steps=2_000, eval_every=250)
    config.distill.update(steps=1_200, eval_every=300)
    config.evaluation.replicates = 1_000
    return config


def row(config: Any, name: str) -> Any:
    """A copy of a config, set to a row of the tables."""
    config = config.copy_and_resolve_references()
    method, strength, center, share = SHARPENINGS.get(name, (name, None, None, None))
    fields: dict[str, Any] = {"method": method}
    if name == "control":
        fields = dict(study.CONTROL)
    elif name == "regularised":
        fields = {"method": "supervised", **base.REGULARISED}
    elif strength is not None:
        fields |= {
            "distill.max_strength": strength,
            "distill.center": center,
            "distill.dead_share": share,
        }
    if values := TUNED.get(name) or TUNED.get(method):
        rate, weight = values
        fields |= {"distill.learning_rate": rate, "distill.weight": weight}
        if method in METHODS and METHODS[method].from_start:
            fields["pretrain.learning_rate"] = rate
    config.update_from_flattened_dict(fields)
    return config


def _rows(
    names: Sequence[str],
    finding: str,
    regions: Sequence[int] = (REGION,),
    difficulty: str = "easy",
    worlds: int = WORLDS,
) -> list[Any]:
    """Every row in every world; a world's trials come together."""
    return [
        row(world(number, finding, region, difficulty), name)
        for number in range(worlds)
        for region in regions
        for name in names
    ]


PARTS: Mapping[str, Callable[[], list[Any]]] = {
    "ribs": lambda: _rows(MAIN, "rib"),
    "regions": lambda: _rows(FEW, "rib", (8, 32, 64)),
    "clavicles": lambda: _rows(MAIN, "clavicle"),
    "subtle": lambda: _rows(FEW, "rib", (REGION, 64), "middle", worlds=3),
    "methods": lambda: _rows(OTHERS, "rib", worlds=2),
}


def get_sweep(choice: str = "") -> list[Any]:
    """The configs of some parts, `PART+PART`, of all worlds or one, `PARTS,WORLD`."""
    names, _, number = (choice or "+".join(PARTS)).partition(",")
    if unknown := sorted(set(names.split("+")) - PARTS.keys()):
        raise ValueError(f"no part {', '.join(unknown)}: use {', '.join(PARTS)}")
    if number and number not in map(str, range(WORLDS)):
        raise ValueError(f"no world {number}: use 0 to {WORLDS - 1}, or none")
    configs = [config for name in names.split("+") for config in PARTS[name]()]
    # a world's films are drawn once, and its trials are done before the next world's
    configs.sort(key=lambda config: config.seed)
    return [c for c in configs if not number or c.seed == int(number)]
