"""`--mode=worklist`: the films of a run on which a box would teach most."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aals_jax import types
from aals_jax.evaluation import model_maps, ranking, worklist_folder
from aals_jax.evaluation.evaluator import Evaluator
from aals_jax.evaluation.looks import Look
from aals_jax.runs import evaluate, stages
from aals_jax.runs.evaluate import ModelChoice
from aals_jax.runtime import log, provenance


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked for; see `launch.py --mode=worklist --help`."""

    workdir: Path
    out: Path
    count: int
    data_dir: Path
    model: str = types.SHOWN  # a key of types.MODELS
    workdirs: tuple[Path, ...] = ()  # of other runs on the same data
    negatives: int = 2000  # at most so many of N are looked at
    seed: int = 0  # of the choice of those
    candidates: int = 3  # boxes a film, at most


def write(options: Options, *, load_config: Callable[[dict], Any]) -> Path:
    """Writes the worklist of a run; returns its table.

    Raises:
        ValueError: the count is below 1, nothing is to be boxed, the other runs are of
            other data, or the folder holds another worklist.
        FileNotFoundError: there is no run, checkpoint or dataset.
    """
    if options.count < 1:
        raise ValueError(f"--count={options.count}: ask for at least one film")
    worklist_folder.check_free(options.out)
    choice = ModelChoice(options.workdir, options.model)
    config, evaluator, model = evaluate.open_run(choice, load_config, options.data_dir)
    table, record = ranking.candidates(
        evaluator.data, negatives=options.negatives, seed=options.seed
    )
    others = _others(options, config, evaluator, load_config)
    titles = [one.title for one in others]
    log.info(
        "%s at step %d, compared with %s. %s",
        model.name,
        model.step,
        ", ".join(titles) or "nothing",
        provenance.DISCLAIMER,
    )
    center = float(config.distill.center)
    ranked = ranking.rank(
        evaluator,
        model,
        stages.make_model(config, axis_name=None),
        others,
        table,
        record,
        center=center,
        count=options.count,
    )
    facts = worklist_folder.Facts(
        config.finding, not config.registry, titles, options.count, center
    )
    return worklist_folder.write(
        options.out, evaluator, model, ranked, facts, candidates=options.candidates
    )


def _others(
    options: Options,
    config: Any,
    evaluator: Evaluator,
    load_config: Callable[[dict], Any],
) -> list[Look]:
    """What the model is compared with."""
    others = same_run(options.workdir, options.model, config, evaluator)
    for number, workdir in enumerate(options.workdirs, start=2):
        choice = ModelChoice(workdir, options.model)
        other_config, other, model = evaluate.open_run(
            choice, load_config, options.data_dir
        )
        if other.data.data_hash != evaluator.data.data_hash:
            raise ValueError(
                f"--workdirs: {workdir} is of other data than {options.workdir}; name "
                "runs on the same dataset that differ in their seed"
            )
        if other_config.finding != config.finding:
            raise ValueError(
                f"--workdirs: {workdir} looks for {other_config.finding}, "
                f"{options.workdir} for {config.finding}"
            )
        predictor = model_maps.Predictor(
            stages.make_model(other_config, axis_name=None),
            batch_size=config.evaluation.batch_size,
            detect=stages.make_detect(other_config),
        )
        others.append(Look(f"run {number}", predictor, model.variables))
    return others


def same_run(workdir: Path, name: str, config: Any, evaluator: Evaluator) -> list[Look]:
    """The other networks of the model's run, and the model's own mirrored view."""
    stage, _ = types.MODELS[name]
    named = [other for other, (of, _) in types.MODELS.items() if of == stage]
    if stage != types.STAGES[0]:
        named.append(stages.start_of(config))
    choices = [ModelChoice(workdir, other) for other in named if other != name]
    looking = [
        Look(ranking.TITLES[one.name], evaluator.predictor, one.variables)
        for one in map(evaluate.restore, choices)
    ]
    model = evaluate.restore(ModelChoice(workdir, name))
    if config.augment.flip:  # else the model has never seen a mirrored film
        view = Look(
            "its mirrored view", evaluator.predictor, model.variables, mirrored=True
        )
        looking.append(view)
    return looking
