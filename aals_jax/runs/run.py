"""One run from start to end: data, two stages, evaluation, page, result.json.

`run(config, workdir)` is idempotent: it goes on from whatever is in `workdir` and
writes result.json last. Nothing in that file depends on clocks or interruptions.
"""

from pathlib import Path
from typing import Any

from aals_jax import types
from aals_jax.evaluation import flow, model_maps, monitors, replicates, result
from aals_jax.evaluation.evaluator import Evaluator, TrainedModel
from aals_jax.input import prepare
from aals_jax.input.dataset import Data
from aals_jax.method.methods import METHODS
from aals_jax.metrics import measurement
from aals_jax.metrics.draws import Bootstrap
from aals_jax.metrics.measurement import Measurement
from aals_jax.runs import (
    agreement,
    bounds,
    center,
    check,
    data_options,
    frozen_encoder,
    identity,
    loop,
    pretrained,
    sharing,
    stages,
)
from aals_jax.runs.center import Center
from aals_jax.runs.history import read_history
from aals_jax.runs.workdir import check_claim, check_data, claim, is_done
from aals_jax.runtime import devices, hosts, log, provenance
from aals_jax.types import SHOWN, TrainState

COMPARED = (("teacher", "pretrained"), ("teacher", "pretrained_average"))


def run(config: Any, workdir: Path, *, shared: Path | None = None) -> Path:
    """Does what is left to do and returns the path of result.json.

    `shared` keeps stages 1 for the runs of a sweep; the result does not depend on it.
    """
    result_path = workdir / result.RUN_FILE
    check.check_config(config)
    agreement.agree_on_start(config, workdir)
    check_claim(config, workdir)
    if hosts.from_primary(lambda: is_done(result_path)):
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
    stages.check_start(config)
    data = open_data(config)
    center.check_positives(config, data)
    for split, counts in data.counts().items():
        log.info("%-10s %s", split, counts)
    for note in oracle_notes(config, data):
        log.info("%s: %s", config.method, note)
    for warning in pretrained.warnings(config):
        log.warning("%s", warning)
    check_data(data.data_hash, workdir)
    if hosts.is_primary():
        # not before: a config refused so far may be mended
        claim(config, data.data_hash, workdir)
        frozen_encoder.keep(config, workdir)
    evaluator = make_evaluator(config, data, workdir)
    models, found = train_models(config, evaluator, workdir, shared)
    predict_together(evaluator, models, start=stages.start_of(config))
    if hosts.is_primary():
        finish(config, evaluator, models, workdir, found)
    return result_path


def open_data(config: Any) -> Data:
    """The data of the run; host 0 prepares them, the others then find them ready."""
    options = data_options.of(config)
    opened = prepare.open_data(options) if hosts.is_primary() else None
    hosts.from_primary(lambda: None)  # a dataset may take hours to build
    data = opened or prepare.open_data(options)
    agreement.agree_on_data(data.data_hash)
    return data


def predict_together(
    evaluator: Evaluator, models: list[TrainedModel], *, start: str
) -> None:
    """What `finish` needs of the nets; each host computes a share.

    `start`: the model that stage 2 starts from.
    """
    data = evaluator.data
    looked_at = monitors.moments(start)
    for model in models:
        tables = {"validation": data.validation, "test": data.test}
        image_level = monitors.images_of_p(data)
        if model.name in looked_at and len(image_level):
            tables[monitors.P_NAME] = image_level
        for name, table in tables.items():
            evaluator.predict_together(model, table, name)


def train_models(
    config: Any, evaluator: Evaluator, workdir: Path, shared: Path | None = None
) -> tuple[list[TrainedModel], Center | None]:
    """Both stages.

    Returns:
        Every model that is measured, at the best step of its stage; and t of stage 2,
        where it was found between the stages.
    """
    data, predictor = evaluator.data, evaluator.predictor
    first = stages.pretrain_stage(config, data.dataset.side)
    if shared and (key := sharing.key(config)):
        sharing.take_over(
            shared / key,
            workdir,
            data.data_hash,
            lambda folder: loop.run_stage(first, data, config, folder, predictor),
        )
    pretrained = loop.run_stage(first, data, config, workdir, predictor)
    stage_1 = _models_of(first, *pretrained)
    start = stage_1[stages.start_of(config)]
    found = center.decide(config, evaluator, start, workdir)
    second = stages.distill_stage(
        config,
        pretrained[1],
        images=len(data.streams.image_level),
        side=data.dataset.side,
        center=found and found.value,
    )
    distilled = loop.run_stage(second, data, config, workdir, predictor)
    models = stage_1 | _models_of(second, *distilled)
    return [models[name] for name in types.MODELS], found


def _models_of(
    stage: stages.Stage, step: int, state: TrainState
) -> dict[str, TrainedModel]:
    """The models of a stage, by name."""
    return {
        name: TrainedModel(name, step, stage.whole(getattr(state, field)))
        for name, (of_stage, field) in types.MODELS.items()
        if of_stage == stage.name
    }


def make_predictor(config: Any) -> model_maps.Predictor:
    model = stages.make_model(config, axis_name=None)
    return model_maps.Predictor(
        model,
        batch_size=config.evaluation.batch_size,
        detect=stages.make_detect(config),
    )


def make_evaluator(config: Any, data: Data, workdir: Path) -> Evaluator:
    """What evaluates the models of a run."""
    settings = config.evaluation
    return Evaluator(
        data=data,
        predictor=make_predictor(config),
        detecting=detecting_of(config),
        bootstrap=Bootstrap(settings.replicates, settings.seed),
        cache=workdir / "predictions",
    )


def detecting_of(config: Any) -> model_maps.Detecting:
    """How detections and image scores of a run's models are taken."""
    settings = config.evaluation
    return model_maps.Detecting(
        detections=settings.detections,
        min_distance=settings.min_distance,
        threshold=settings.threshold,
        max_detections=settings.max_detections,
        pooling=stages.pooling_of(config),
    )


def finish(
    config: Any,
    evaluator: Evaluator,
    models: list[TrainedModel],
    workdir: Path,
    found: Center | None,
) -> None:
    """Evaluates every model on the test set; writes the page, then result.json.

    `found`: t of stage 2, where the config's was not taken.
    """
    measurements: dict[str, Measurement] = {}
    with log.progress("measuring") as update:
        for number, model in enumerate(models):
            update(number, len(models))
            measurements[model.name] = evaluator.evaluate(model, "test")
        update(len(models), len(models))
    replicates.write(
        workdir / "replicates.npz", replicates.replicates_of(measurements[SHOWN])
    )
    history = read_history(workdir)
    monitored = monitors.measure(
        evaluator,
        models,
        start=stages.start_of(config),
        method=config.method,
        center=found.value if found else config.distill.center,
        history=history,
    )
    shown = next(model for model in models if model.name == SHOWN)
    result.publish(
        make_result(config, evaluator.data, models, measurements, monitored, found),
        workdir / result.RUN_FILE,
        history=history,
        examples=evaluator.examples(shown, "test", measurements[SHOWN]),
    )


def make_result(
    config: Any,
    data: Data,
    models: list[TrainedModel],
    measurements: dict[str, Measurement],
    monitored: dict[str, Any],
    found: Center | None,
) -> result.Result:
    """The record of a run; versions and commit are filled in there."""
    steps_text = ", ".join(f"{m.name} at step {m.step}" for m in models)
    return result.Result(
        title=config.finding,
        finding=config.finding,
        method=config.method,
        scale=config.scale,
        seed=config.seed,
        run_version=identity.VERSION,
        steps={model.name: model.step for model in models},
        notes=[
            "The test split was scored once, with the checkpoints that validation "
            f"chose: {steps_text} of its stage.",
            *([center.sentence(config, found)] if found else []),
            *oracle_notes(config, data),
            *pretrained.notes(config),
        ],
        warnings=monitors.sentences(
            measurements[stages.start_of(config)].metrics["auroc"],
            monitored,
            method=config.method,
        ),
        measurements=measurements,
        monitors=monitored,
        bounds=bounds.beside(identity.of(config), data.data_hash),
        differences=[
            row
            for a, b in COMPARED
            for row in measurement.differences(
                (a, measurements[a]), (b, measurements[b])
            )
        ],
        data=describe_data(config, data),
        flow=flow.of_run(data.counts(), measurements[SHOWN].truth),
        initial_weights=pretrained.describe(identity.of(config)["model"]),
        config=identity.of(config),
        hardware=devices.hardware(),
    )


def oracle_notes(config: Any, data: Data) -> list[str]:
    """What a run that learns from withheld boxes has to say of them; else nothing."""
    if not METHODS[config.method].withheld:
        return []
    images = len(data.streams.image_level)
    return [
        f"An upper bound, not a rival: it learns from the boxes of {data.withheld} of "
        f"{images} images of P, which are withheld from every other method. The other "
        f"{images - data.withheld} have no box and carry no loss."
    ]


def describe_data(config: Any, data: Data) -> dict[str, Any]:
    """What was trained and measured on; no path."""
    return {
        "source": data.source,
        "data_hash": data.data_hash,
        "fold": config.data.fold,
        "side": data.dataset.side,
        "splits": data.counts(),
    }
