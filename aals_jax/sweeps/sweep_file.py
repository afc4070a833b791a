"""Reads a sweep file: its trials, named, checked and in the order to run them."""

import collections
import contextlib
import dataclasses
import importlib.util
import json
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from aals_jax.runs import check, identity, sharing
from aals_jax.sweeps.search import Search
from aals_jax.sweeps.trials import Trial

SEED = "seed"  # stands last in a label: trials that differ only in it are a group


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What a sweep file defines."""

    trials: list[Trial]  # in the order to run them; none where Optuna picks samples
    search: Search | None  # None: the file has a list of configs
    configs: Sequence[Any]  # those whose datasets are needed


def load(file: str, root: Path) -> Sweep:
    """Reads a sweep file: `get_sweep` returns configs, `get_search` a Search.

    Args:
      file: its path; what follows ":" is passed to the function.
      root: the sweep's folder.

    Raises:
      ValueError: there is no such file, its own code fails, or its configs can't be
        run.
    """
    path, _, argument = file.partition(":")
    module = load_module(path)
    arguments = [argument] if argument else []
    if hasattr(module, "get_search"):
        with errors_located(path):
            search = module.get_search(*arguments)
        if search.algorithm != "random":
            check.check_fields(search.config)
            return Sweep([], search, [search.config])
        configs = [search.config_of(values) for values in search.draw_all()]
        return Sweep(make_trials(configs, root), search, configs)
    if not hasattr(module, "get_sweep"):
        raise ValueError(f"--sweep={path}: neither get_sweep nor get_search is in it")
    with errors_located(path):
        configs = _configs(module.get_sweep(*arguments))
    return Sweep(make_trials(configs, root), None, configs)


def load_module(path: str) -> ModuleType:
    """Imports a sweep file.

    Raises:
      ValueError: there is no such file, or its code fails.
    """
    if not Path(path).is_file():
        raise ValueError(f"--sweep={path}: there is no such file")
    spec = importlib.util.spec_from_file_location("sweep_file", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    with errors_located(path):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def errors_located(path: str) -> Iterator[None]:
    """Turns any error of a sweep file's code into a ValueError with file and line.

    The error's own words are kept: such a file handles settings and no patient.
    """
    try:
        yield
    except Exception as error:
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).resolve() == Path(path).resolve()
        ]
        message = str(error)
        if isinstance(error, SyntaxError):
            lines, message = [error.lineno], error.msg
        if not isinstance(error, ValueError):
            message = f"{type(error).__name__}: {message}"
        place = f", line {lines[-1]}" if lines else ""
        raise ValueError(f"--sweep={path}{place}: {message}") from error


def _configs(returned: Any) -> list[Any]:
    """What get_sweep returned, checked to be a list of configs."""
    try:
        configs = list(returned)
    except TypeError:
        raise ValueError(
            f"get_sweep returned {type(returned).__name__}: a list of configs is needed"
        ) from None
    for number, config in enumerate(configs):
        if not hasattr(config, "to_json_best_effort"):  # what a ConfigDict has
            raise ValueError(
                f"get_sweep's entry {number} is of type {type(config).__name__}: a "
                "ConfigDict, as configs.base.get_config makes it, is needed"
            )
    return configs


def make_trials(configs: Sequence[Any], root: Path) -> list[Trial]:
    """Checks, names and orders configs.

    Of trials that share a stage 1, one comes first, since the others have to wait for
    it. No device is started: devices belong to the trials' processes.

    Raises:
      ValueError: configs that can't be run, or that are the same run; names them all.
    """
    identities = [identity.of(config) for config in configs]
    flats = [identity.flat(decisive) for decisive in identities]
    names = [identity.digest(decisive) for decisive in identities]
    _check(configs, names)
    differing = [
        field
        for field in sorted(flats[0], key=lambda field: (field == SEED, field))
        if len({json.dumps(flat.get(field)) for flat in flats}) > 1
    ]
    stages = [sharing.key(config) for config in configs]
    first = [stage is None or stage not in stages[:i] for i, stage in enumerate(stages)]
    order = sorted(range(len(configs)), key=lambda i: not first[i])
    return [
        make_trial(
            configs[i],
            root,
            index=index,
            differing={field: flats[i].get(field) for field in differing},
        )
        for index, i in enumerate(order)
    ]


def make_trial(
    config: Any, root: Path, *, index: int, differing: Mapping[str, Any]
) -> Trial:
    """The trial of a config; `differing` are the fields that its label shows."""
    return Trial(
        index=index,
        name=identity.digest(identity.of(config)),
        label=label(differing),
        differing=dict(differing),
        fields=json.loads(config.to_json_best_effort()),
        first_stage=sharing.key(config),
        root=root,
    )


def label(differing: Mapping[str, Any]) -> str:
    """`method=aals seed=0`: uses a field's last name component where it is unambiguous.

    Args:
      differing: dotted field -> value.
    """
    ends = collections.Counter(name.rpartition(".")[2] for name in differing)

    def short(name: str) -> str:
        end = name.rpartition(".")[2]
        return end if ends[end] == 1 else name

    def in_words(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return " ".join(f"{short(name)}={in_words(v)}" for name, v in differing.items())


def _check(configs: Sequence[Any], names: Sequence[str]) -> None:
    if not configs:
        raise ValueError("the sweep has no config")
    problems = []
    for number, (config, name) in enumerate(zip(configs, names, strict=True)):
        try:
            check.check_fields(config)
        except ValueError as error:
            problems.append(f"config {number}: {error}")
        if (same := names.index(name)) != number:
            problems.append(
                f"config {number} is the same run as config {same}; registries, which "
                "a name does not tell apart, need a --workdir each"
            )
    if problems:
        raise ValueError("the sweep can't be run:\n- " + "\n- ".join(problems))
