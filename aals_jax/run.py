"""The whole way of one run: data, two stages, evaluation, result.json, the page.

`run(config, workdir)` is idempotent: it goes on from whatever is in `workdir` and
writes result.json last. Nothing in that file depends on clocks or interruptions.
"""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from aals_jax import evaluate, inference, parallel, prepare, reporting, steps, train
from aals_jax.examples import choose_examples
from aals_jax.models import resnet
from aals_jax.report import ModelCurves, write_report

DISCLAIMER = "Research only, not a medical device."
# Fields that say where and how fast, not what: they may differ between two calls.
MACHINE_FIELDS = ("data.dir", "data.key_file", "data.workers", "data.threads")


def run(config: Any, workdir: Path) -> Path:
    """Does what is left to do and returns the path of result.json."""
    result_path = workdir / "result.json"
    check_config(config)
    check_claim(config, workdir)
    if result_path.exists():
        if config.registry:  # another registry of the same shape must not pass for it
            prepared = prepare.prepare_dataset(config)[0]
            check_data(prepare.data_hash(prepared), workdir)
        reporting.log.info("done already: %s", result_path)
        reporting.log.info("the page: %s", workdir / "report.html")
        return result_path
    reporting.log.info(
        "%s, %s scale, method %s, seed %d, on %s",
        config.finding,
        config.scale,
        config.method,
        config.seed,
        "the PHANTOM (drawn, no patients)" if not config.registry else "a registry",
    )
    reporting.log.info("%s  %s", parallel.describe(), DISCLAIMER)
    data = prepare.open_data(config)
    for split, counts in data.counts().items():
        reporting.log.info("%-10s %s", split, counts)
    check_data(data.data_hash, workdir)
    if parallel.is_primary():
        # not before: a config refused so far may be mended
        claim(config, data.data_hash, workdir)
    models = train_models(config, data, workdir)
    if parallel.is_primary():
        finish(config, data, models, workdir)
    return result_path


def check_config(config: Any) -> None:
    """Raises one ValueError for settings that can't work together."""
    problems = []
    if config.method not in steps.METHODS:
        problems.append(f"method={config.method!r}: use one of {sorted(steps.METHODS)}")
    if config.distill.max_strength < 1:
        problems.append(f"distill.max_strength={config.distill.max_strength}: >= 1")
    if not 0 < config.distill.center < 1:
        problems.append(f"distill.center={config.distill.center}: between 0 and 1")
    if config.data.side % 32:
        problems.append(f"data.side={config.data.side}: a multiple of 32")
    if not 0 <= config.data.fold < 5:
        problems.append(f"data.fold={config.data.fold}: 0 to 4")
    for name in ("pretrain", "distill"):
        stage = config[name]
        if stage.eval_every % config.log_every:
            problems.append(
                f"{name}.eval_every={stage.eval_every}: a multiple of log_every="
                f"{config.log_every}"
            )
        if not 0 <= stage.warmup_steps < stage.steps:
            problems.append(
                f"{name}.warmup_steps={stage.warmup_steps}: below its steps"
            )
        try:
            train.make_tx(stage)
        except ValueError as error:
            problems.append(f"{name}.{error}")
    if config.model.backbone not in resnet.DEPTHS:
        problems.append(
            f"model.backbone={config.model.backbone!r}: use one of "
            f"{sorted(resnet.DEPTHS)}"
        )
    if problems:
        raise ValueError("the config can't be run:\n- " + "\n- ".join(problems))
    labelled = config.batch.region + config.batch.negative
    parallel.check_divisible(
        {
            "batch.region + batch.negative": labelled,
            "batch.image_level": config.batch.image_level,
        }
    )
    parallel.check_divisible(
        {"evaluation.batch_size": config.evaluation.batch_size},
        parallel.local_device_count(),
    )


def identity(config: Any) -> dict[str, Any]:
    """The config without the fields that don't change what comes out."""
    fields = json.loads(config.to_json_best_effort())
    for name in MACHINE_FIELDS:
        section, field = name.split(".")
        del fields[section][field]
    fields["registry"] = "registry" if config.registry else None
    return fields


def check_claim(config: Any, workdir: Path) -> None:
    """Raises ValueError when the workdir belongs to another config."""
    claimed = _claimed(workdir)
    if claimed is None:
        return
    there, now = _flat(claimed["config"]), _flat(identity(config))
    differing = sorted(
        f"{name}: {there.get(name)!r} there, {now.get(name)!r} now"
        for name in there.keys() | now.keys()
        if there.get(name) != now.get(name)
    )
    if differing:
        raise ValueError(
            f"the workdir {workdir} belongs to another config; choose another "
            "--workdir or delete it:\n- " + "\n- ".join(differing)
        )


def check_data(data_hash: str, workdir: Path) -> None:
    """Raises ValueError when the workdir was begun on other data."""
    claimed = _claimed(workdir)
    if claimed is not None and claimed["data_hash"] != data_hash:
        raise ValueError(
            f"the workdir {workdir} belongs to other data (data_hash "
            f"{claimed['data_hash'][:12]} there, {data_hash[:12]} now); choose "
            "another --workdir or delete it"
        )


def claim(config: Any, data_hash: str, workdir: Path) -> None:
    """Ties a workdir to this config and these data."""
    workdir.mkdir(parents=True, exist_ok=True)
    record = {"config": identity(config), "data_hash": data_hash}
    reporting.write_json(workdir / "config.json", record)


def _claimed(workdir: Path) -> dict[str, Any] | None:
    path = workdir / "config.json"
    return json.loads(path.read_text()) if path.exists() else None


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def train_models(config: Any, data: prepare.Data, workdir: Path) -> dict[str, Any]:
    """Both stages; the variables of every model that is measured, by name."""
    predictor = make_predictor(config)
    first = train.pretrain_stage(config, data.dataset.side)
    pretrained = train.run_stage(first, data, config, workdir, predictor)
    second = train.distill_stage(config, pretrained.student)
    distilled = train.run_stage(second, data, config, workdir, predictor)
    return {
        "pretrained": pretrained.student,
        "pretrained_average": pretrained.teacher,
        "student": distilled.student,
        "teacher": distilled.teacher,
    }


def make_predictor(config: Any) -> inference.Predictor:
    model = train.make_model(config, axis_name=None)
    return inference.Predictor(model, batch_size=config.evaluation.batch_size)


def finish(
    config: Any, data: prepare.Data, models: dict[str, Any], workdir: Path
) -> None:
    """Measures every model on the test set; writes the page, then result.json."""
    predictor = make_predictor(config)
    valid = inference.film(data.test, side=data.dataset.side)
    test = evaluate.test_set(data.test, valid)
    maps, measured = {}, {}
    with reporting.progress("measuring") as update:
        for number, (name, variables) in enumerate(models.items()):
            update(number, len(models))
            maps[name] = _cached_maps(
                workdir / "predictions" / f"{name}.npy", variables, data, predictor
            )
            measured[name] = evaluate.measure(maps[name], test, config.evaluation)
        update(len(models), len(models))
    result = make_result(config, data, measured)
    write_report(
        workdir / "report.html",
        result=result,
        curves={n: ModelCurves(**m.curves) for n, m in measured.items()},
        history=reporting.read_history(workdir),
        examples=choose_examples(
            data.dataset, data.test, test, maps["teacher"], measured["teacher"]
        ),
    )
    reporting.write_json(workdir / "result.json", result)
    for name, model in measured.items():
        reporting.log.info("%-20s %s", name, _summary(model.metrics))
    reporting.log.info("the result: %s", workdir / "result.json")
    reporting.log.info("the page: %s", workdir / "report.html")


def _cached_maps(
    path: Path, variables: Any, data: prepare.Data, predictor: inference.Predictor
) -> np.ndarray:
    """Maps of the test set; computed once, so metrics can be redone without the net."""
    if path.exists():
        return np.load(path)
    maps = predictor.maps(variables, data.dataset, data.test)
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, maps)
    aside = path.with_suffix(".partial")
    aside.write_bytes(buffer.getvalue())
    os.replace(aside, path)
    return maps


def make_result(
    config: Any, data: prepare.Data, measured: dict[str, evaluate.Measured]
) -> dict[str, Any]:
    """result.json: what was measured, on what, by which code."""
    return {
        "title": config.finding,
        "disclaimer": DISCLAIMER,
        "finding": config.finding,
        "method": config.method,
        "scale": config.scale,
        "seed": config.seed,
        "metrics": {name: m.metrics for name, m in measured.items()},
        "data": {
            "source": data.source,
            "data_hash": data.data_hash,
            "fold": config.data.fold,
            "side": data.dataset.side,
            "splits": data.counts(),
        },
        "config": identity(config),
        "versions": reporting.versions(),
        "commit": reporting.commit(),
    }


def _summary(metrics: dict[str, dict[str, Any]]) -> str:
    def show(value: float | None) -> str:
        return "nan" if value is None else f"{value:.3f}"

    return "  ".join(
        f"{name} {show(m['value'])} [{show(m['low'])}, {show(m['high'])}]"
        for name, m in metrics.items()
    )
