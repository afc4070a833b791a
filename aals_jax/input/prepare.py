"""From a config to a dataset that can be trained on: phantom or registry, checked."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aals_jax.input.dataset import Data, Dataset, ImageTable, split_streams
from aals_jax.method.methods import METHODS
from aals_jax.runtime import locks, log
from data.cxr_registry.build import builds, folds
from data.cxr_registry.labels import report_text
from data.phantom import registry as phantom

PHANTOM_FINDINGS = ("rib", "clavicle")


def prepare_dataset(config: Any) -> tuple[Path, str]:
    """Builds the dataset unless it is there already; returns its folder and source."""
    data_dir = Path(config.data.dir)
    key_file = Path(config.data.key_file or data_dir / "pseudonym.key")
    if config.registry is None:
        if config.scale == "paper":
            raise ValueError(
                "the paper's recipe needs a registry: --config.registry=DIR "
                "(the phantom is for laptop scale)"
            )
        registry, findings = _generate_phantom(config, data_dir), PHANTOM_FINDINGS
    else:
        registry, findings = Path(config.registry), (config.finding,)
    builds.warm_up()
    with log.progress("building the dataset") as update:
        path = builds.prepare(
            registry,
            data_dir=data_dir,
            findings=findings,
            side=config.data.side,
            bits=config.data.bits,
            seed=config.data.seed,
            key_file=key_file,
            max_bad_share=config.data.max_bad_share,
            allow=tuple(config.data.allow),
            parts_file=_path(config.data.parts_file),
            keep_non_acute=config.data.keep_non_acute,
            point_radius=config.data.point_radius,
            reports=_reports(config.data.reports),
            workers=config.data.workers,
            timeout_s=config.data.timeout_s,
            memory_gib=config.data.memory_gib,
            beam=shlex.split(config.data.beam) or None,
            progress=update,
        )
    return path, "phantom" if config.registry is None else "registry"


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None


def _reports(settings: Any) -> report_text.Options:
    return report_text.Options(
        read=settings.read,
        languages=tuple(settings.languages),
        rules=_path(settings.rules),
        silence=settings.silence,
    )


def data_hash(path: Path) -> str:
    """The hash of a prepared dataset's pixels, labels, boxes and parts."""
    return builds.describe(path)["data_hash"]


def _generate_phantom(config: Any, data_dir: Path) -> Path:
    settings = config.phantom
    if config.finding not in PHANTOM_FINDINGS:
        raise ValueError(
            f"finding={config.finding!r} is not in the phantom, which has "
            f"{PHANTOM_FINDINGS}; for your own data give --config.registry=DIR"
        )
    levels = phantom.DIFFICULTIES
    if settings.difficulty not in levels:
        raise ValueError(
            f"phantom.difficulty={settings.difficulty!r}: use one of {sorted(levels)}"
        )
    conspicuity = levels[settings.difficulty]
    name = (
        f"phantom{phantom.VERSION}-c{conspicuity:g}-{settings.images}x{settings.height}px"
        f"-p{settings.prevalence:g}-b{settings.boxed_share:g}-s{settings.seed}"
    )
    folder = data_dir / name
    # trials of an array start together; the others wait for the first
    lock = locks.held(data_dir / ".locks" / name)
    with lock, log.progress("drawing the phantom") as update:
        phantom.generate(
            folder,
            images=settings.images,
            seed=settings.seed,
            conspicuity=conspicuity,
            height=settings.height,
            prevalence=settings.prevalence,
            boxed_share=settings.boxed_share,
            workers=config.data.workers,
            progress=update,
        )
    return folder


def open_data(config: Any) -> Data:
    """Prepares, opens, splits and checks the data of a config."""
    path, source = prepare_dataset(config)
    data = load_data(path, config, source=source)
    check_counts(data.counts(), config)
    return data


def load_data(path: Path, config: Any, *, source: str) -> Data:
    """Opens a prepared dataset and splits it."""
    dataset = Dataset(path, config.finding)
    table = dataset.table
    known = table.select(np.flatnonzero(table.label >= 0))
    parts = {
        name: known.select(np.flatnonzero(np.isin(known.split, list(names))))
        for name, names in _fold_splits(known, config.data.fold).items()
    }
    streams = split_streams(
        parts["train"],
        region_images=config.data.region_images,
        seed=config.data.seed,
        label_noise=config.data.label_noise,
    )
    return Data(
        dataset=dataset,
        **parts,
        streams=streams,
        source=source,
        data_hash=data_hash(path),
    )


def _fold_splits(table: ImageTable, fold: int) -> dict[str, tuple[str, ...]]:
    """Which TFDS splits train, validate and test; a user's own splits win."""
    if set(np.unique(table.split)) <= {"train", "validation", "test"}:
        return {name: (name,) for name in ("train", "validation", "test")}
    return {
        name: tuple(f"part_{part}" for part in parts)
        for name, parts in folds.fold_splits(fold).items()
    }


def check_counts(counts: dict[str, dict[str, int]], config: Any) -> None:
    """Raises one ValueError with everything that makes training or testing empty."""
    problems = shortages(counts, finding=config.finding, method=config.method)
    if problems:
        raise ValueError("the data can't be trained on:\n- " + "\n- ".join(problems))


def shortages(
    counts: Mapping[str, Mapping[str, int]], *, finding: str, method: str
) -> list[str]:
    """What makes training or testing empty: split -> supervision -> images."""
    train = counts["train"]
    problems = []
    if not any(c["region"] + c["image_level"] for c in counts.values()):
        problems.append(f"no image has the finding {finding!r}: check the labels")
    elif not train["region"]:
        problems.append(
            f"no training image has a {finding!r} box: stage 1 needs regions.csv"
        )
    elif not train["image_level"] and METHODS[method].weak is not None:
        problems.append(
            f"no training image is positive for {finding!r} without a box (P is "
            "empty): use --config.method=supervised, or lower data.region_images"
        )
    if not train["negative"]:
        problems.append(f"no training image is negative for {finding!r}")
    for split in ("validation", "test"):
        positive = counts[split]["region"] + counts[split]["image_level"]
        for count, kind in ((positive, "positive"), (counts[split]["negative"], "neg")):
            if not count:
                kind = "positive" if kind == "positive" else "negative"
                problems.append(
                    f"{split} has no {kind} image, so AUROC is undefined there: "
                    "choose another data.fold, or bring your own split column"
                )
    return problems
