"""The whole way of one run: data, two stages, evaluation, result.json, the page.

`run(config, workdir)` is idempotent: it goes on from whatever is in `workdir` and
writes result.json last. Nothing in that file depends on clocks or interruptions.
"""

from pathlib import Path
from typing import Any

from aals_jax import types
from aals_jax.evaluation import evaluator, model_maps, replicates
from aals_jax.input import prepare
from aals_jax.input.dataset import Data
from aals_jax.metrics import definitions
from aals_jax.metrics.summary import Measured, sections
from aals_jax.report import ModelCurves, write_report
from aals_jax.runs import check, data_options, identity, loop, sharing, stages
from aals_jax.runs.history import read_history
from aals_jax.runs.workdir import check_claim, check_data, claim
from aals_jax.runtime import devices, files, log, provenance
from aals_jax.types import SHOWN

PAIRS = (("teacher", "pretrained"), ("teacher", "pretrained_average"))


def run(config: Any, workdir: Path, *, shared: Path | None = None) -> Path:
    """Does what is left to do and returns the path of result.json.

    `shared` keeps stages 1 for the runs of a sweep; the result does not depend on it.
    """
    result_path = workdir / "result.json"
    check.check_config(config)
    check_claim(config, workdir)
    if result_path.exists():
        if config.registry:  # another registry of the same shape must not pass for it
            prepared = prepare.prepare_dataset(data_options.of(config))
            check_data(prepare.data_hash(prepared), workdir)
        log.info("done already: %s", result_path)
        log.info("the page: %s", workdir / "report.html")
        return result_path
    log.info(
        "%s, %s scale, method %s, seed %d, on %s",
        config.finding,
        config.scale,
        config.method,
        config.seed,
        "the PHANTOM (drawn, no patients)" if not config.registry else "a registry",
    )
    log.info("%s  %s", devices.describe(), provenance.DISCLAIMER)
    data = prepare.open_data(data_options.of(config))
    for split, counts in data.counts().items():
        log.info("%-10s %s", split, counts)
    check_data(data.data_hash, workdir)
    if devices.is_primary():
        # not before: a config refused so far may be mended
        claim(config, data.data_hash, workdir)
    models = train_models(config, data, workdir, shared)
    if devices.is_primary():
        finish(config, data, models, workdir)
    return result_path


def train_models(
    config: Any, data: Data, workdir: Path, shared: Path | None = None
) -> list[evaluator.Subject]:
    """Both stages; every model that is measured, at the best step of its stage."""
    predictor = make_predictor(config)
    first = stages.pretrain_stage(config, data.dataset.side)
    if shared and (key := sharing.key(config)):
        sharing.take_over(
            shared / key,
            workdir,
            data.data_hash,
            lambda folder: loop.run_stage(first, data, config, folder, predictor),
        )
    pretrained = loop.run_stage(first, data, config, workdir, predictor)
    second = stages.distill_stage(
        config,
        pretrained[1].student,
        images=len(data.streams.image_level),
        side=data.dataset.side,
    )
    distilled = loop.run_stage(second, data, config, workdir, predictor)
    of_stage = {"pretrain": pretrained, "distill": distilled}
    subjects = []
    for model, (stage, field) in types.MODELS.items():
        step, state = of_stage[stage]
        subjects.append(evaluator.Subject(model, step, getattr(state, field)))
    return subjects


def make_predictor(config: Any) -> model_maps.Predictor:
    model = stages.make_model(config, axis_name=None)
    return model_maps.Predictor(model, batch_size=config.evaluation.batch_size)


def finish(
    config: Any, data: Data, subjects: list[evaluator.Subject], workdir: Path
) -> None:
    """Measures every model on the test set; writes the page, then result.json."""
    assessor = evaluator.Assessor(
        data=data,
        settings=config.evaluation,
        predictor=make_predictor(config),
        cache=workdir / "predictions",
    )
    measured: dict[str, Measured] = {}
    with log.progress("measuring") as update:
        for number, subject in enumerate(subjects):
            update(number, len(subjects))
            measured[subject.model] = assessor.measure(subject, "test")
        update(len(subjects), len(subjects))
    result = make_result(config, data, subjects, measured)
    shown = next(s for s in subjects if s.model == SHOWN)
    write_report(
        workdir / "report.html",
        result=result,
        curves={n: ModelCurves(**m.curves) for n, m in measured.items()},
        history=read_history(workdir),
        examples=assessor.examples(shown, "test", measured[SHOWN]),
    )
    shown_one, draws = measured[SHOWN], evaluator.bootstrap(config.evaluation)
    replicates.write(
        workdir / "replicates.npz",
        replicates.of(shown_one.truth, shown_one.reading, bootstrap=draws),
    )
    files.write_json(workdir / "result.json", result)
    log.log_metrics(result["metrics"])
    log.info("the result: %s", workdir / "result.json")
    log.info("the page: %s", workdir / "report.html")


def make_result(
    config: Any,
    data: Data,
    subjects: list[evaluator.Subject],
    measured: dict[str, Measured],
) -> dict[str, Any]:
    """result.json: what was measured, on what, by which code."""
    steps_of = ", ".join(f"{s.model} at step {s.step}" for s in subjects)
    return {
        "title": config.finding,
        "disclaimer": provenance.DISCLAIMER,
        "finding": config.finding,
        "method": config.method,
        "scale": config.scale,
        "seed": config.seed,
        "notes": [
            "The test split was scored once, with the checkpoints that validation "
            f"chose: {steps_of} of its stage."
        ],
        **sections(measured),
        "differences": [
            row
            for a, b in PAIRS
            for row in definitions.differences(
                measured[a].truth,
                (a, measured[a].reading),
                (b, measured[b].reading),
                bootstrap=evaluator.bootstrap(config.evaluation),
            )
        ],
        "data": describe_data(config, data),
        "config": identity.of(config),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "hardware": devices.hardware(),
    }


def describe_data(config: Any, data: Data) -> dict[str, Any]:
    """What was trained and measured on; no path."""
    return {
        "source": data.source,
        "data_hash": data.data_hash,
        "fold": config.data.fold,
        "side": data.dataset.side,
        "splits": data.counts(),
    }
