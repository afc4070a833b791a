"""`--mode=evaluate`: a finished or running run scored again, or two runs compared.

No registry and no key are needed: the prepared dataset is found by its hash.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aals_jax import types
from aals_jax.evaluation import evaluator
from aals_jax.evaluation.evaluator import Assessor, Subject
from aals_jax.input import prepare
from aals_jax.metrics import definitions
from aals_jax.metrics.summary import Measured, sections
from aals_jax.report import ModelCurves, write_report
from aals_jax.runs import data_options, identity, run
from aals_jax.runs.checkpoints import Checkpoints
from aals_jax.runs.workdir import claimed
from aals_jax.runtime import files, log, provenance
from data.cxr_registry.build import builds

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Request:
    """What to score; see `launch.py --help`."""

    workdir: Path
    model: str = "teacher"  # a key of train.MODELS
    checkpoint: str = "best"  # best, last, or a step that was kept
    split: str = "test"


def rescore(
    request: Request, *, load_config: Callable[[dict], Any], data_dir: Path
) -> Path:
    """Scores one model; writes metrics.json and a page below the run's workdir."""
    config, assessor, subject = open_run(request, load_config, data_dir)
    measured = assessor.measure(subject, request.split)
    name = f"{request.split}-{subject.model}-{subject.step}"
    return _write(
        request.workdir / "evaluations" / name,
        {subject.model: measured},
        config,
        assessor,
        title=f"{config.finding}, {subject.model}",
        notes=[_note(request, subject)],
        examples=assessor.examples(subject, request.split, measured),
    )


def compare(
    first: Request,
    second: Request,
    *,
    load_config: Callable[[dict], Any],
    data_dir: Path,
) -> Path:
    """Pairs two models on the same images; refuses when the images differ."""
    opened = [open_run(request, load_config, data_dir) for request in (first, second)]
    (config, assessor, subject), (_, other_assessor, other) = opened
    _check_same_images(assessor, other_assessor, first.split)
    one = assessor.measure(subject, first.split)
    two = other_assessor.measure(other, second.split)
    names = _names((first, subject), (second, other))
    differences = definitions.differences(
        one.truth,
        (names[0], one.reading),
        (names[1], two.reading),
        bootstrap=evaluator.bootstrap(config.evaluation),
    )
    place = hashlib.sha256(str(second.workdir.resolve()).encode()).hexdigest()[:6]
    folder = (
        f"{first.split}-{subject.model}-{subject.step}-against-"
        f"{second.workdir.name}-{place}-{other.model}-{other.step}"
    )
    return _write(
        first.workdir / "evaluations" / folder,
        dict(zip(names, (one, two), strict=True)),
        config,
        assessor,
        title=f"{config.finding}, two models",
        notes=[_note(first, subject), _note(second, other)],
        examples=assessor.examples(subject, first.split, one),
        differences=differences,
    )


def _names(*pairs: tuple[Request, Subject]) -> list[str]:
    """What to call the two; a run's folder, and A and B where both have one name."""
    same = len({request.workdir.name for request, _ in pairs}) == 1
    one = len({request.workdir.resolve() for request, _ in pairs}) == 1
    if one and len({(s.model, s.step) for _, s in pairs}) == 1:
        raise ValueError("a model with itself: name another run, model or step")
    letters = ("A ", "B ") if same and not one else ("", "")
    return [
        f"{letter}{request.workdir.name}: {s.model} at step {s.step}"
        for letter, (request, s) in zip(letters, pairs, strict=True)
    ]


def open_run(
    request: Request, load_config: Callable[[dict], Any], data_dir: Path
) -> tuple[Any, Assessor, Subject]:
    """The run's config, what measures it, and the model asked for."""
    if request.model not in types.MODELS:
        raise ValueError(f"model={request.model!r}: use one of {sorted(types.MODELS)}")
    if request.split not in SPLITS:
        raise ValueError(f"split={request.split!r}: use one of {SPLITS}")
    record = claimed(request.workdir)
    if record is None:
        raise FileNotFoundError(
            f"{request.workdir} holds no run: it has no config.json"
        )
    config = load_config(record["config"])
    path = builds.find(data_dir, record["data_hash"])
    source = "registry" if record["config"]["registry"] else "phantom"
    data = prepare.load_data(path, data_options.selection_of(config), source=source)
    assessor = Assessor(
        data=data,
        settings=config.evaluation,
        predictor=run.make_predictor(config),
        cache=request.workdir / "predictions",
    )
    return config, assessor, _subject(request)


def _subject(request: Request) -> Subject:
    stage, field = types.MODELS[request.model]
    folder = request.workdir / "checkpoints" / stage
    if not folder.is_dir():
        raise FileNotFoundError(f"{request.workdir} has no checkpoint of {stage} yet")
    kept = Checkpoints(folder)
    try:
        step = _step(request.checkpoint, kept)
        state = kept.restore(step)
    finally:
        kept.close()
    return Subject(request.model, step, state[field])


def _step(wanted: str, kept: Checkpoints) -> int:
    steps = kept.steps()
    if not steps:
        raise FileNotFoundError("no checkpoint has been saved yet in this stage")
    if wanted == "best":
        return kept.best_step()
    if wanted == "last":
        return steps[-1]
    if wanted.isdigit() and int(wanted) in steps:
        return int(wanted)
    raise ValueError(f"checkpoint={wanted!r}: use best, last, or one of {steps}")


def _check_same_images(first: Assessor, second: Assessor, split: str) -> None:
    a, b = first.table(split), second.table(split)
    pairs = ("image_id", "label", "boxed")
    if len(a) != len(b) or not all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in pairs
    ):
        raise ValueError(
            f"the runs' {split} images differ ({len(a)} and {len(b)}): a paired "
            "comparison needs the same images, labels and boxed lesions in both"
        )


def _note(request: Request, subject: Subject) -> str:
    how = {
        "best": "the checkpoint that validation chose",
        "last": "the last checkpoint",
    }
    return (
        f"{subject.model}: the {request.split} split was scored with "
        f"{how.get(request.checkpoint, 'a checkpoint asked for by its step')}, step "
        f"{subject.step} of its stage."
    )


def _write(
    folder: Path,
    measured: dict[str, Measured],
    config: Any,
    assessor: Assessor,
    *,
    title: str,
    notes: list[str],
    examples: list,
    differences: list | None = None,
) -> Path:
    result = {
        "kind": "score",
        "title": title,
        "disclaimer": provenance.DISCLAIMER,
        "finding": config.finding,
        **sections(measured),
        "differences": differences or [],
        "notes": notes,
        "data": run.describe_data(config, assessor.data),
        "config": identity.of(config),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_report(
        folder / "report.html",
        result=result,
        curves={n: ModelCurves(**m.curves) for n, m in measured.items()},
        history=[],
        examples=examples,
    )
    files.write_json(folder / "metrics.json", result)
    log.log_metrics(result["metrics"])
    for row in differences or []:
        log.info("%s", log.difference(row))
    log.info("the metrics: %s", folder / "metrics.json")
    log.info("the page: %s", folder / "report.html")
    return folder / "metrics.json"
