"""What a study is to run: the parts of its sweep file, and the arms of a table.

A study is a sweep file with `PARTS`, name -> function that returns configs, and perhaps
`LAYOUT`, the kind of its pages. A trial is named as in a sweep, by a hash of its config
(`identity.digest`), and may belong to several parts.
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

# Label -> place in the palette. The first places are the easiest to tell apart: they go
# to the labels that are most often drawn together.
_SLOTS = {
    NO_SHARPENING: 0, "aals": 1, "mean_teacher": 2, RAISED: 3, "image_level": 4,
    "supervised": 5,
}  # fmt: skip

Fields = Mapping[str, Any]  # the identity of a trial, by dotted names
Cell = tuple[int, int]  # seed, fold


@dataclasses.dataclass(frozen=True)
class PlannedTrial:
    """A trial of the study, run or not."""

    name: str  # hash of its identity
    identity: Mapping[str, Any]  # the config's fields that decide its result, nested

    @property
    def fields(self) -> Fields:
        return identity.flat(dict(self.identity))


@dataclasses.dataclass(frozen=True)
class Arm:
    """One line of a table or figure: trials that differ only in seed and fold."""

    label: str  # the method, as `label` names it
    level: Any  # value of the field that a table varies beside the method, or None
    trials: Mapping[Cell, str]  # -> name of the trial


@dataclasses.dataclass(frozen=True)
class Plan:
    """All trials, by parts."""

    parts: Mapping[str, Sequence[PlannedTrial]]
    layout: str = "methods"  # the kind of its pages, a key of page.LAYOUTS

    @property
    def trials(self) -> dict[str, PlannedTrial]:
        """Name -> trial, each once, in the order of the parts."""
        return {t.name: t for trials in self.parts.values() for t in trials}

    @property
    def first_part(self) -> dict[str, str]:
        """Name of a trial -> the first part that has it."""
        return {
            trial.name: part
            for part, trials in reversed([*self.parts.items()])
            for trial in trials
        }

    def part(self, name: str) -> Sequence[PlannedTrial]:
        """The trials of a part; none where the study has no such part."""
        return self.parts.get(name, ())

    def widened(self, name: str, free: Collection[str]) -> list[PlannedTrial]:
        """A part, and the trials of other parts that differ from one of its own only in
        the fields `free`.

        So a part need not list what another one runs anyway. Trials of "tuning" join no
        other part in this way.
        """

        def key(trial: PlannedTrial) -> str:
            fixed = {k: v for k, v in trial.fields.items() if k not in free}
            return identity.digest(fixed)

        trials = {trial.name: trial for trial in self.part(name)}
        keys = {key(trial) for trial in trials.values()}
        for other, candidates in self.parts.items():
            if other not in (name, "tuning"):
                trials |= {t.name: t for t in candidates if key(t) in keys}
        return list(trials.values())


def load(file: str) -> Plan:
    """Reads the parts of a study's sweep file.

    Args:
      file: "FILE" or "FILE:CHOICE"; a choice goes to the function of each part.

    Raises:
      ValueError: there is no such file, its code fails, or it has no PARTS.
    """
    path, _, choice = file.partition(":")
    module = sweep_file.load_module(path)
    parts = getattr(module, "PARTS", None)
    if not isinstance(parts, Mapping):
        raise ValueError(
            f"--sweep={file}: a study's file has PARTS, name -> function that returns "
            "configs; docs/sweeps.md"
        )
    given = [choice] if choice else []
    with sweep_file.errors_located(path):
        planned = {name: _planned(make(*given)) for name, make in parts.items()}
    return Plan(planned, getattr(module, "LAYOUT", Plan.layout))


def _planned(configs: Iterable[Any]) -> list[PlannedTrial]:
    """A trial for each config; configs of the same identity are one trial."""
    trials = {}
    for config in configs:
        decisive = identity.of(config)
        name = identity.digest(decisive)
        trials[name] = PlannedTrial(name, decisive)
    return list(trials.values())


def label(fields: Fields) -> str:
    """The method of a trial; `aals` at a0 = 1 or with dead_zone=raise has its own, and
    so has a method with dropout or with t from validation's peaks."""
    method, share = fields["method"], fields.get("distill.dead_share")
    if fields.get("model.dropout"):
        return f"{method}, regularised"
    if method == "aals" and fields["distill.max_strength"] == 1:
        return NO_SHARPENING
    if method == "aals" and fields.get("distill.dead_zone") == "raise":
        method = RAISED
    return f"{method}, dead_share={share:g}" if share else method


def place(name: str) -> int:
    """Where a label stands in tables; unknown labels come last."""
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def slot(name: str) -> int:
    """A label's place in the palette, the same in all figures."""
    others = [label for label in _ORDER if label not in _SLOTS]
    return _SLOTS.get(name, len(_SLOTS) + (others.index(name) if name in others else 0))


def arms(
    trials: Iterable[PlannedTrial],
    *,
    level: Callable[[Fields], Any] = lambda fields: None,
    name: Callable[[Fields], str] = label,
) -> list[Arm]:
    """Groups trials by label and level; ordered by level, then by label.

    Raises:
      ValueError: two trials of an arm have the same seed and fold.
    """
    members: dict[tuple[str, Any], dict[Cell, PlannedTrial]] = {}
    for trial in trials:
        fields = trial.fields
        cells = members.setdefault((name(fields), level(fields)), {})
        cell = (fields["seed"], fields["data.fold"])
        if cell in cells:
            other = cells[cell].fields
            differing = sorted(k for k in fields if fields[k] != other.get(k))
            raise ValueError(
                f"trials {cells[cell].name} and {trial.name} would be one cell of a "
                f"table; they differ in {', '.join(differing)}: give them a part each"
            )
        cells[cell] = trial
    ordered = [
        Arm(arm_label, at, {cell: t.name for cell, t in sorted(cells.items())})
        for (arm_label, at), cells in members.items()
    ]
    return sorted(ordered, key=lambda a: (_rank(a.level), place(a.label), a.label))


def _rank(level: Any) -> Any:
    """Sorts levels by value, None last: it stands for all images with boxes."""
    if isinstance(level, tuple):
        return tuple(_rank(part) for part in level)
    return (level is None, level or 0)
