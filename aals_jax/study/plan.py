"""What a study consists of: the parts of its sweep file, and the arms of a table.

A study is a sweep file with `PARTS`, name -> function that returns configs. A trial is
named as in a sweep (`check.identity`) and may belong to several parts.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from aals_jax.method.methods import METHODS
from aals_jax.runs import identity
from aals_jax.sweeps import sweep_file

NO_SHARPENING = "no sharpening (a0 = 1)"
REFERENCES = ("supervised", "mean_teacher", NO_SHARPENING)
RAISED = "aals, dead_zone=raise"
_ORDER = [name for name in METHODS if name != "aals"] + [NO_SHARPENING, "aals", RAISED]

# label -> place in the palette; what is drawn together most often is told apart best
_SLOTS = {
    NO_SHARPENING: 0, "aals": 1, "mean_teacher": 2, RAISED: 3, "image_level": 4,
    "supervised": 5,
}  # fmt: skip

Fields = Mapping[str, Any]  # an identity by dotted names
Cell = tuple[int, int]  # seed, fold


@dataclasses.dataclass(frozen=True)
class Planned:
    """A trial of the study, run or not."""

    name: str  # hash of its identity
    identity: Mapping[str, Any]  # nested

    @property
    def fields(self) -> Fields:
        return identity.flat(dict(self.identity))


@dataclasses.dataclass(frozen=True)
class Arm:
    """A row of a table: trials that differ in seed and fold alone."""

    label: str  # the method, as `label` says it
    level: Any  # what a table varies beside the method; None: nothing
    trials: Mapping[Cell, str]  # -> name of the trial


@dataclasses.dataclass(frozen=True)
class Study:
    """All trials, by parts."""

    parts: Mapping[str, Sequence[Planned]]

    @property
    def trials(self) -> dict[str, Planned]:
        """Name -> trial, each once, in the order of the parts."""
        return {t.name: t for part in self.parts.values() for t in part}

    def part(self, name: str) -> Sequence[Planned]:
        return self.parts.get(name, ())

    def widened(self, name: str, free: Collection[str]) -> list[Planned]:
        """A part, with the trials of others that differ from one in `free` alone.

        So a part need not list what another one runs anyway. Trials of "tuning" join no
        other part by that.
        """

        def key(trial: Planned) -> str:
            fixed = {k: v for k, v in trial.fields.items() if k not in free}
            return identity.digest(fixed)

        own = {trial.name: trial for trial in self.part(name)}
        keys = {key(trial) for trial in own.values()}
        for other, trials in self.parts.items():
            if other not in (name, "tuning"):
                own |= {t.name: t for t in trials if key(t) in keys}
        return list(own.values())


def load(file: str) -> Study:
    """Reads the parts of a study's sweep file.

    Raises:
      ValueError: there is no such file, or it has no PARTS.
    """
    parts = getattr(sweep_file.load_module(file), "PARTS", None)
    if not isinstance(parts, Mapping):
        raise ValueError(
            f"--sweep={file}: a study's file has PARTS, name -> function that returns "
            "configs; docs/sweeps.md"
        )
    with sweep_file.telling(file):
        return Study({name: _planned(make()) for name, make in parts.items()})


def _planned(configs: Iterable[Any]) -> list[Planned]:
    made = {}
    for config in configs:
        decisive = identity.of(config)
        name = identity.digest(decisive)
        made[name] = Planned(name, decisive)
    return list(made.values())


def label(fields: Fields) -> str:
    """The method of a trial; aals without sharpening, or with our option, by name."""
    if fields["method"] != "aals":
        return fields["method"]
    if fields["distill.max_strength"] == 1:
        return NO_SHARPENING
    return RAISED if fields.get("distill.dead_zone") == "raise" else "aals"


def place(name: str) -> int:
    """Where a label stands in tables."""
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def slot(name: str) -> int:
    """A label's place in the palette, the same in all figures."""
    others = [each for each in _ORDER if each not in _SLOTS]
    return _SLOTS.get(name, len(_SLOTS) + (others.index(name) if name in others else 0))


def arms(
    trials: Iterable[Planned],
    *,
    level: Callable[[Fields], Any] = lambda fields: None,
    name: Callable[[Fields], str] = label,
) -> list[Arm]:
    """Trials by label and level; ordered by level, then by label.

    Raises:
      ValueError: two trials would be one cell of the table.
    """
    found: dict[tuple[str, Any], dict[Cell, Planned]] = {}
    for trial in trials:
        fields = trial.fields
        cells = found.setdefault((name(fields), level(fields)), {})
        cell = (fields["seed"], fields["data.fold"])
        if cell in cells:
            other = cells[cell].fields
            differing = sorted(k for k in fields if fields[k] != other.get(k))
            raise ValueError(
                f"trials {cells[cell].name} and {trial.name} would be one cell of a "
                f"table; they differ in {', '.join(differing)}: give them a part each"
            )
        cells[cell] = trial
    made = [
        Arm(each, at, {cell: t.name for cell, t in sorted(cells.items())})
        for (each, at), cells in found.items()
    ]
    return sorted(made, key=lambda a: (_rank(a.level), place(a.label), a.label))


def _rank(level: Any) -> Any:
    """None, all there are, comes last."""
    if isinstance(level, tuple):
        return tuple(_rank(each) for each in level)
    return (level is None, level or 0)
