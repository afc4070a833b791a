"""`--mode=export`: a finished run as a folder that can be handed over.

What is in it comes from the run's own record: nothing is measured anew but the
calibration. No path, id or image of the data is in it.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aals_jax.evaluation import model_maps, result
from aals_jax.evaluation.evaluator import Evaluator, TrainedModel
from aals_jax.handover import folder, onnx_program, preprocessing, programs
from aals_jax.metrics import definitions, sigmoid
from aals_jax.metrics.draws import TruthDraws
from aals_jax.models import encoders
from aals_jax.report import model_card
from aals_jax.runs import evaluate, frozen_encoder, identity
from aals_jax.runtime import digest, files, log, provenance, weights
from data.cxr_registry.build import builds, ledger

_CALIBRATED = ("brier_score", "expected_calibration_error")


def export(
    workdir: Path,
    out: Path,
    *,
    model: str = "teacher",
    license: str = "",
    onnx: bool = False,
    load_config: Callable[[dict], Any],
    data_dir: Path,
) -> Path:
    """Writes the folder of one model of a finished run; returns its manifest.

    Args:
        workdir: of the run.
        out: the folder; empty, or left by an export that did not end.
        model: a key of types.MODELS, at the checkpoint that validation chose.
        license: of the weights, as hubs abbreviate it; "": unknown.
        onnx: whether the net is written as ONNX too, where it can be; where it can't,
            the log and the manifest say why.
        load_config: what makes a config of the nested dict of config.json.
        data_dir: folder of prepared datasets.

    Raises:
        ValueError: there is a model in `out` already, the run is of another version, or
            it measured another checkpoint; or what makes ONNX is not installed.
        FileNotFoundError: the run is not finished, or its dataset is not there.
    """
    if (out / folder.MANIFEST).exists():
        raise ValueError(f"{out} holds a model already: choose another --out")
    if onnx:
        onnx_program.check_installed()
    record = _record_of(workdir)
    choice = evaluate.ModelChoice(workdir, model)
    config, evaluator, trained = evaluate.open_run(choice, load_config, data_dir)
    if record["steps"].get(model) != trained.step:
        raise ValueError(
            f"{workdir}: result.json measured {model} at step "
            f"{record['steps'].get(model)}, and the checkpoint that validation chose "
            f"is of step {trained.step}: train into another --workdir"
        )
    out.mkdir(parents=True, exist_ok=True)
    arrays = {
        name: np.asarray(array)
        for name, array in folder.flatten(trained.variables).items()
    }
    prepared = preprocessing.of_config(config)
    calibrated = calibrate(evaluator, trained)
    data = record["data"] | {"data_card_sha256": _card_of(data_dir, record)}
    points, metrics = record["operating_points"][model], record["metrics"][model]
    log.info("lowering the net for %s", ", ".join(programs.PLATFORMS))
    lowered, images = programs.lower(config, arrays, side=prepared.side)
    weights.write(
        out / folder.WEIGHTS,
        arrays,
        {"source": f"aals_jax, {record['method']}", "license": license or "unknown"},
    )
    for platform, content in lowered.items():
        files.write_bytes(out / programs.name_of(platform), content)
    said = _write_onnx(out, config, arrays, side=prepared.side) if onnx else {}
    measured = {"metrics": metrics, "subgroups": record["subgroups"][model]}
    tables = {
        folder.CONFIG: identity.of(config),
        folder.PREPROCESSING: prepared.as_json(),
        folder.POINTS: points,
        folder.CALIBRATION: calibrated,
        folder.METRICS: measured,
        folder.DATA: data,
    }
    for name, table in tables.items():
        files.write_json(out / name, table)
    facts = {
        **{key: record[key] for key in ("finding", "method", "notes", "versions")},
        "model": model,
        "license": license,
        "disclaimer": provenance.DISCLAIMER,
        "warnings": record.get("warnings") or (),
        "net": _net(config, arrays),
        "data": data,
        "metrics": metrics,
        "operating_points": points,
        "calibration": calibrated,
        "preprocessing": prepared.as_json(),
        "initial_weights": record.get("initial_weights"),
        "commit": record["commit"],
        "batch": {"stablehlo": images},
        "output": "boxes" if "boxes" in record["config"] else "maps",
    }
    files.write_text(out / folder.CARD, model_card.text(facts))
    folder.write_manifest(
        out,
        {
            "model": model,
            "step": trained.step,
            "finding": record["finding"],
            "batch": facts["batch"],
            "commit_of_run": record["commit"],
            **said,
        },
    )
    _check_written(out, trained, load_config)
    log.info("the model: %s", out)
    return out / folder.MANIFEST


def _write_onnx(
    out: Path, config: Any, arrays: Mapping[str, np.ndarray], *, side: int
) -> dict[str, Any]:
    """What the manifest says of the net as ONNX."""
    log.info("converting the net to ONNX, which may take minutes")
    try:
        content = onnx_program.convert(config, arrays, side=side)
    except onnx_program.NotConverted as error:
        # of an export that did not end
        (out / onnx_program.NAME).unlink(missing_ok=True)
        log.warning("there is no ONNX of this net: %s", error)
        return {"onnx": {"reason": str(error)}}
    files.write_bytes(out / onnx_program.NAME, content)
    return {"onnx": {"images": 1, "tolerance": onnx_program.TOLERANCE}}


def calibrate(evaluator: Evaluator, model: TrainedModel) -> dict[str, Any]:
    """A sigmoid fitted on validation, and what it is worth on test.

    Returns:
        For calibration.json: `fitted` or None with `reason`, and `test`: metric ->
        score, calibrated -> its entry with an interval.
    """
    truth, reading = evaluator.read(model, "validation")
    try:
        fitted = sigmoid.fit(reading.score, truth.label)
    except ValueError as error:
        return {"fitted": None, "reason": str(error)}
    truth, reading = evaluator.read(model, "test")
    draws = TruthDraws(truth, evaluator.bootstrap)
    test: dict[str, dict[str, Any]] = {name: {} for name in _CALIBRATED}
    for kind, scores in {
        "score": reading.score,
        "calibrated": fitted(reading.score),
    }.items():
        read = dataclasses.replace(reading, score=scores)
        drawn = definitions.draw_metrics(truth, read, draws=draws, names=_CALIBRATED)
        entries = definitions.metric_entries(
            drawn, truth, read, seed=evaluator.bootstrap.seed, hit=model_maps.HIT
        )
        for name in _CALIBRATED:
            test[name][kind] = entries[name]
    return {"fitted": fitted.as_json(), "fitted_on": "validation", "test": test}


def _record_of(workdir: Path) -> dict[str, Any]:
    path = workdir / result.RUN_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{workdir} holds no finished run: it has no {result.RUN_FILE}; the "
            "command of the run goes on where it ended"
        )
    try:
        record = json.loads(path.read_text())
    except ValueError:
        raise ValueError(f"{path} is damaged: run again in another folder") from None
    if (record.get("format"), record.get("run_version")) != (
        result.FORMAT,
        identity.VERSION,
    ):
        raise ValueError(
            f"{path} is of another version (format {record.get('format')}, run "
            f"{record.get('run_version')}; here {result.FORMAT} and "
            f"{identity.VERSION}): export it with the commit {record.get('commit')}"
        )
    return record


def _card_of(data_dir: Path, record: Mapping[str, Any]) -> str | None:
    """SHA-256 of the dataset's data card; None where it has none."""
    path = builds.find(data_dir, record["data"]["data_hash"]) / ledger.CARD_FILE
    return files.sha256(path) if path.is_file() else None


def _net(config: Any, arrays: Mapping[str, np.ndarray]) -> str:
    numbers, frozen = (
        sum(a.size for n, a in arrays.items() if n.startswith(f"{kind}/"))
        for kind in ("params", encoders.FROZEN)
    )
    encoder = frozen_encoder.architecture(config)
    width = encoder.width if encoder else config.model.width
    beside = f" and {frozen:,} frozen ones" if frozen else ""
    return (
        f"{config.model.backbone}, width {width}, {numbers:,} parameters{beside}, "
        f"computed in {config.model.dtype}"
    )


def _check_written(
    out: Path, trained: TrainedModel, load_config: Callable[[dict], Any]
) -> None:
    """What was written is read as others will, and is the run's model bit for bit."""
    there = folder.load(out, load_config=load_config).variables
    ours = jax.tree.map(np.asarray, trained.variables)
    if digest.of_tree(there) != digest.of_tree(ours):
        (out / folder.MANIFEST).unlink()
        raise ValueError(f"{out}: the weights do not come back as they were written")
