"""`--mode=evaluate`: a model of a run evaluated again, or two models compared.

No registry and no key are needed: the prepared dataset is found by its hash.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aals_jax import types
from aals_jax.evaluation import flow, result
from aals_jax.evaluation.evaluator import Evaluator, TrainedModel
from aals_jax.evaluation.study_facts import UNSTATED, StudyFacts
from aals_jax.input import prepare
from aals_jax.metrics import measurement
from aals_jax.metrics.measurement import Measurement
from aals_jax.runs import data_options, frozen_encoder, identity, pretrained, run
from aals_jax.runs.checkpoints import Checkpoints
from aals_jax.runs.workdir import claimed
from data.cxr_registry.build import builds
from data.cxr_registry.tables import records


@dataclasses.dataclass(frozen=True)
class ModelChoice:
    """Which model of which run, on which split; see `launch.py --help`."""

    workdir: Path
    model: str = "teacher"  # a key of types.MODELS
    checkpoint: str = "best"  # best, last, or a step that was kept
    split: str = "test"  # one of records.SPLITS


def evaluate(
    choice: ModelChoice,
    *,
    load_config: Callable[[dict], Any],
    data_dir: Path,
    tables: Sequence[str] = (),
    study: StudyFacts = UNSTATED,
    bootstrap: Mapping[str, int] | None = None,
) -> Path:
    """Evaluates one model; writes metrics.json and a page below the run's workdir.

    Args:
        choice: the model.
        load_config: what makes a config of the nested dict of config.json.
        data_dir: folder of prepared datasets.
        tables: to write, as of `result.publish`.
        study: what the author states.
        bootstrap: fields of `Bootstrap` that differ from the run's own; None: none do.
    """
    config, evaluator, model = open_run(choice, load_config, data_dir)
    evaluator = _with(evaluator, bootstrap)
    measured = evaluator.evaluate(model, choice.split)
    return _publish(
        choice.workdir / "evaluations" / f"{choice.split}-{model.name}-{model.step}",
        result.Result(
            kind="score",
            title=f"{config.finding}, {model.name}",
            finding=config.finding,
            measurements={model.name: measured},
            steps={model.name: model.step},
            differences=[],
            notes=[
                _note(choice, model),
                *pretrained.notes(config),
                *_drawn(bootstrap),
            ],
            data=run.describe_data(config, evaluator.data),
            flow=_flow(evaluator, measured, choice.split, study),
            study=study.as_json(),
            initial_weights=pretrained.describe(identity.of(config)["model"]),
            config=identity.of(config),
        ),
        evaluator.examples(model, choice.split, measured),
        tables,
    )


def compare(
    first: ModelChoice,
    second: ModelChoice,
    *,
    load_config: Callable[[dict], Any],
    data_dir: Path,
    tables: Sequence[str] = (),
    study: StudyFacts = UNSTATED,
    bootstrap: Mapping[str, int] | None = None,
) -> Path:
    """Pairs two models on the same images; writes as `evaluate` does, for the first.

    Raises:
        ValueError: the images differ, or the two are one model.
    """
    config, evaluator, model = open_run(first, load_config, data_dir)
    _, other_evaluator, other = open_run(second, load_config, data_dir)
    evaluator = _with(evaluator, bootstrap)
    other_evaluator = _with(other_evaluator, bootstrap)
    _check_same_images(evaluator, other_evaluator, first.split)
    names = _names((first, model), (second, other))
    measured = evaluator.evaluate(model, first.split)
    other_measured = other_evaluator.evaluate(other, second.split)
    place = hashlib.sha256(str(second.workdir.resolve()).encode()).hexdigest()[:6]
    folder = (
        f"{first.split}-{model.name}-{model.step}-against-"
        f"{second.workdir.name}-{place}-{other.name}-{other.step}"
    )
    return _publish(
        first.workdir / "evaluations" / folder,
        result.Result(
            kind="score",
            title=f"{config.finding}, two models",
            finding=config.finding,
            measurements=dict(zip(names, (measured, other_measured), strict=True)),
            steps=dict(zip(names, (model.step, other.step), strict=True)),
            differences=measurement.differences(
                (names[0], measured), (names[1], other_measured)
            ),
            notes=[_note(first, model), _note(second, other), *_drawn(bootstrap)],
            data=run.describe_data(config, evaluator.data),
            flow=_flow(evaluator, measured, first.split, study),
            study=study.as_json(),
            config=identity.of(config),
        ),
        evaluator.examples(model, first.split, measured),
        tables,
    )


def _flow(
    evaluator: Evaluator, measured: Measurement, split: str, study: StudyFacts
) -> flow.Flow:
    return flow.of_run(
        evaluator.data.counts(),
        measured.truth,
        split=split,
        exclusions=study.exclusions,
    )


def _with(evaluator: Evaluator, bootstrap: Mapping[str, int] | None) -> Evaluator:
    changed = dataclasses.replace(evaluator.bootstrap, **(bootstrap or {}))
    return dataclasses.replace(evaluator, bootstrap=changed)


def _drawn(bootstrap: Mapping[str, int] | None) -> list[str]:
    """What the reader of the config must know about the intervals."""
    asked = ", ".join(f"{name}={value}" for name, value in (bootstrap or {}).items())
    text = "Intervals were drawn as asked for, not as the run's config says"
    return [f"{text}: {asked}."] if asked else []


def _publish(
    folder: Path, evaluated: result.Result, examples: list, tables: Sequence[str]
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / result.SCORE_FILE
    return result.publish(evaluated, path, examples=examples, tables=tables)


def _names(*pairs: tuple[ModelChoice, TrainedModel]) -> list[str]:
    """What to call the two: by the run's folder; A and B where both share its name."""
    same_name = len({choice.workdir.name for choice, _ in pairs}) == 1
    same_run = len({choice.workdir.resolve() for choice, _ in pairs}) == 1
    if same_run and len({(model.name, model.step) for _, model in pairs}) == 1:
        raise ValueError("a model with itself: name another run, model or step")
    letters = ("A ", "B ") if same_name and not same_run else ("", "")
    return [
        f"{letter}{choice.workdir.name}: {model.name} at step {model.step}"
        for letter, (choice, model) in zip(letters, pairs, strict=True)
    ]


def open_run(
    choice: ModelChoice, load_config: Callable[[dict], Any], data_dir: Path
) -> tuple[Any, Evaluator, TrainedModel]:
    """The run's config, what evaluates its models, and the model asked for.

    Args:
        choice, load_config, data_dir: as in `evaluate`.

    Raises:
        ValueError: there is no such model, split or checkpoint.
        FileNotFoundError: there is no run, no dataset or no checkpoint yet.
    """
    if choice.model not in types.MODELS:
        raise ValueError(f"model={choice.model!r}: use one of {sorted(types.MODELS)}")
    if choice.split not in records.SPLITS:
        raise ValueError(f"split={choice.split!r}: use one of {records.SPLITS}")
    record = claimed(choice.workdir)
    if record is None:
        raise FileNotFoundError(f"{choice.workdir} holds no run: it has no config.json")
    config = load_config(record["config"])
    path = builds.find(data_dir, record["data_hash"])
    source = "registry" if record["config"]["registry"] else "phantom"
    data = prepare.load_data(path, data_options.selection_of(config), source=source)
    evaluator = run.make_evaluator(config, data, choice.workdir)
    return config, evaluator, restore(choice)


def restore(choice: ModelChoice) -> TrainedModel:
    """The model at its checkpoint.

    Raises:
        FileNotFoundError: there is no checkpoint of its stage yet.
        ValueError: there is no such checkpoint.
    """
    stage, field = types.MODELS[choice.model]
    folder = choice.workdir / "checkpoints" / stage
    if not folder.is_dir():
        raise FileNotFoundError(f"{choice.workdir} has no checkpoint of {stage} yet")
    checkpoints = Checkpoints(folder)
    try:
        step = _step(choice.checkpoint, checkpoints)
        state = checkpoints.restore(step)
    finally:
        checkpoints.close()
    record = claimed(choice.workdir)
    frozen = frozen_encoder.kept(record["config"], choice.workdir) if record else {}
    return TrainedModel(choice.model, step, {**state[field], **frozen})


def _step(wanted: str, checkpoints: Checkpoints) -> int:
    steps = checkpoints.steps()
    if not steps:
        raise FileNotFoundError("no checkpoint has been saved yet in this stage")
    if wanted == "best":
        return checkpoints.best_step()
    if wanted == "last":
        return steps[-1]
    if wanted.isdigit() and int(wanted) in steps:
        return int(wanted)
    raise ValueError(f"checkpoint={wanted!r}: use best, last, or one of {steps}")


def _check_same_images(first: Evaluator, second: Evaluator, split: str) -> None:
    a, b = first.table(split), second.table(split)
    columns = ("image_id", "label", "boxed")
    if len(a) != len(b) or not all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in columns
    ):
        raise ValueError(
            f"the runs' {split} images differ ({len(a)} and {len(b)}): a paired "
            "comparison needs the same images, labels and boxed lesions in both"
        )


def _note(choice: ModelChoice, model: TrainedModel) -> str:
    how = {
        "best": "the checkpoint that validation chose",
        "last": "the last checkpoint",
    }
    return (
        f"{model.name}: the {choice.split} split was scored with "
        f"{how.get(choice.checkpoint, 'a checkpoint asked for by its step')}, step "
        f"{model.step} of its stage."
    )
