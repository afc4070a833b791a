"""The reproducibility study of docs/study.md, part by part.

    python launch.py --mode=sweep --sweep configs/sweeps/study.py:middle --workdir DIR

Parts are joined by `+`, such as `study.py:easy+hard`. `all` means all parts but `real`,
which needs a registry: `study.py:real,FOLDER`. A trial of two parts is run once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aals_jax.method import methods
from aals_jax.method.methods import METHODS
from configs import base
from configs.sweeps.grid import grid

REGION = 35  # images of R, to 245 of P: 1 to 7, as in the paper
CONTROL = {"method": "aals", "distill.max_strength": 1.0}  # a0 = 1: no sharpening
FOUR = ("supervised", "mean_teacher", "control", "aals")
THREE = ("supervised", "mean_teacher", "aals")

# Learning rates of stage 2 and weights of the term on P. TUNED has the best of them by
# validation AUROC on the phantom of TUNING; docs/study/tuning.md. At a logit the
# gradient of a squared error is 2 p (1 - p) times that of the KL divergence, some
# thirty times smaller where p is small: its weights are tried around 30, not around 1.
STAR = ((1e-3, 1.0), (3e-4, 1.0), (3e-3, 1.0), (1e-3, 0.3), (1e-3, 3.0))
SQUARED = 30.0  # factor of the weights of SQUARING
SQUARING = ("mean_teacher", "pi_model", "temporal_ensembling")
WIDER = ((1e-3, 3.0), (1e-3, 1.0), (3e-3, 3.0))  # for SQUARING, tried later
REWEIGHTED = (3e-3, 3.0)  # the best of STAR and WIDER for each of SQUARING
TUNING = {"phantom.seed": 1, "seed": 100, "evaluation.replicates": 10}
TUNED: Mapping[str, tuple[float, float]] = {
    "supervised": (3e-3, 1.0),
    "image_level": (1e-3, 0.3),
    "mil": (3e-3, 1.0),
    "pi_model": (1e-3, 9.0),
    "temporal_ensembling": (3e-3, 30.0),
    "mean_teacher": (1e-3, 30.0),
    "self_training": (1e-3, 0.3),
    "pseudo_label": (3e-3, 1.0),
    "temperature": (3e-3, 1.0),
    "asymmetric": (3e-3, 1.0),
    "aals": (3e-3, 1.0),
    "control": (3e-3, 1.0),
}
# What the laptop scale had before it had room: docs/laptop.md.
THEN = {
    "distill.max_strength": 4.0,
    "distill.center": 0.4,
    "data.region_images": 100,
    "phantom.region_images": None,
}
# The a0 and t of `sharpening` with the best mean validation AUROC over its seeds.
CHOSEN = {"distill.max_strength": 4.0, "distill.center": 0.2}


def scale() -> Any:
    """The config that all parts on the phantom start from."""
    config = base.get_config("clavicle")
    config.update_from_flattened_dict(THEN)
    config.data.update(region_images=REGION, threads=1)
    config.phantom.update(images=4_000, prevalence=0.1, boxed_share=1.0)
    config.pretrain.update(steps=1_500, eval_every=250)
    config.distill.update(steps=300, eval_every=100)
    # the defaults then
    config.distill.pool_sharpness = 10.0
    for stage in (config.pretrain, config.distill):
        stage.weight_decay = 1e-4
    config.evaluation.update(replicates=1_000, detections="peaks")
    return config


def method(name: str, **fields: Any) -> Any:
    """The study's config for a method, or for `control`, at its tuned values."""
    return tuned(scale(), name, **fields)


def tuned(config: Any, name: str, **fields: Any) -> Any:
    """Sets a config to a method at its tuned values, or the first of its points."""
    return _with(config, name, *TUNED.get(name, points(name)[0]), **fields)


def points(name: str) -> list[tuple[float, float]]:
    """The pairs of learning rate and weight that tuning tries, the usual one first."""
    row = METHODS[name] if name in METHODS else METHODS["aals"]
    if row.weak is None:
        return [*STAR[:3]]  # there is no second term
    scale = SQUARED if is_squared(row) else 1.0
    return [(rate, weight * scale) for rate, weight in STAR]


def is_squared(row: methods.Method) -> bool:
    """Whether a method's loss on P is a squared error."""
    return row.weak in (methods.squared_error, methods.squared_error_unaugmented)


def _with(config: Any, name: str, rate: float, weight: float, **fields: Any) -> Any:
    named = CONTROL if name == "control" else {"method": name}
    config.update_from_flattened_dict(
        {"distill.learning_rate": rate, "distill.weight": weight, **named, **fields}
    )
    return config


def _each(names: Sequence[str], fields: Mapping[str, Any]) -> list[Any]:
    """Each method at each combination of the fields.

    All methods at one combination come before the next one, so that an unfinished part
    already has trials to compare.
    """
    by_method = [grid(method(name), fields) for name in names]
    return [config for point in zip(*by_method, strict=True) for config in point]


def wider() -> list[Any]:
    """Lower weights for the methods with a squared error; added after first results."""
    return [
        _with(scale(), name, rate, weight, **TUNING)
        for rate, weight in WIDER
        for name in SQUARING
    ]


def reweighted() -> list[Any]:
    """The point that the wider tuning chose, with the methods it is compared with."""
    return _each(("supervised", "control", "aals"), {"seed": range(5)}) + [
        _with(scale(), name, *REWEIGHTED, seed=seed)
        for seed in range(5)
        for name in SQUARING
    ]


def tuning() -> list[Any]:
    """Every method at each of its points."""
    return [
        _with(scale(), name, *point, **TUNING)
        for name in TUNED
        for point in points(name)
    ]


def middle() -> list[Any]:
    """The main comparison: every method, five seeds."""
    return _each([*TUNED], {"seed": range(5)})


def _difficulty(name: str) -> list[Any]:
    """The four main methods on another phantom."""
    return _each(FOUR, {"phantom.difficulty": [name], "seed": range(3)})


def easy() -> list[Any]:
    """Also `image_level`, at chance on the middle phantom: here it can learn."""
    return [
        *_difficulty("easy"),
        method("image_level", **{"phantom.difficulty": "easy"}),
    ]


def sharpening() -> list[Any]:
    """a0 x t; at a0 = 1 the value of t changes nothing, so it is run once."""
    seeds = {"seed": range(2)}
    surface = {
        "distill.max_strength": [2.0, 4.0, 8.0, 16.0],
        "distill.center": [0.2, 0.4, 0.5],
    }
    aals = method("aals")
    return grid(aals, {"distill.max_strength": [1.0], **seeds}) + grid(
        aals, surface | seeds
    )


def chosen() -> list[Any]:
    """AALS at CHOSEN, on the seeds that had no part in the choice."""
    seeds = {"seed": range(2, 5)}
    default = _each(FOUR, seeds)
    return default + grid(method("aals", **CHOSEN), seeds)


def regions() -> list[Any]:
    """A quarter of R, all of it, and four times as many images with boxes."""
    counts = [REGION // 4, REGION, REGION * 4]
    return _each(THREE, {"data.region_images": counts, "seed": range(3)})


def noise() -> list[Any]:
    """Shares of P that change places with N."""
    return _each(THREE, {"data.label_noise": [0.0, 0.05, 0.1], "seed": range(3)})


def dead_zone() -> list[Any]:
    """AALS with and without the option that moves t for images in the dead zone."""
    return _each(["aals"], {"distill.dead_zone": ["leave", "raise"], "seed": range(5)})


def real(registry: str = "REGISTRY") -> list[Any]:
    """1,000 NIH films, finding pneumonia, at the values tuned on the phantom."""
    configs = _each(FOUR, {"seed": range(3), "data.fold": range(5)})
    for config in configs:
        config.finding, config.registry = "pneumonia", registry
        config.data.region_images = None
        config.pretrain.update(steps=600, eval_every=100)
    return configs


PARTS: Mapping[str, Callable[[], list[Any]]] = {
    "tuning": tuning,
    "wider": wider,
    "middle": middle,
    "reweighted": reweighted,
    "dead_zone": dead_zone,
    "sharpening": sharpening,
    "chosen": chosen,
    "easy": easy,
    "hard": lambda: _difficulty("hard"),
    "regions": regions,
    "noise": noise,
    "real": real,
}


def get_sweep(choice: str = "") -> list[Any]:
    """The configs of some parts; `PART+PART`, `all`, or `real,REGISTRY`."""
    parts, _, registry = (choice or "all").partition(",")
    names = [*PARTS][:-1] if parts == "all" else parts.split("+")
    if unknown := sorted(set(names) - PARTS.keys()):
        raise ValueError(
            f"no part {', '.join(unknown)}: use {', '.join(PARTS)}, or all"
        )
    if "real" in names and not registry:
        raise ValueError("the part real needs a registry: study.py:real,DIR")
    configs = {}
    for name in names:
        for config in real(registry) if name == "real" else PARTS[name]():
            configs.setdefault(config.to_json_best_effort(sort_keys=True), config)
    return list(configs.values())
