"""What a block of a study's page is made of, and what it is."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from aals_jax.report import study_figures as figures
from aals_jax.report.markdown import picture
from aals_jax.study.comparisons import Results
from aals_jax.study.kept import Kept
from aals_jax.study.plan import Planned, Study


@dataclasses.dataclass(frozen=True)
class Part:
    """All that a block is made of."""

    study: Study
    results: Results
    repeats: Results = dataclasses.field(default_factory=dict)  # on other hardware

    def kept(self, part: str) -> list[tuple[Planned, Kept]]:
        """The finished trials of a part."""
        return [
            (t, self.results[t.name])
            for t in self.study.part(part)
            if t.name in self.results
        ]


def of_one_hardware(all_of: Part, trials: Iterable[Planned]) -> Results:
    """The results; those of repeats where all of these trials have one from the same
    hardware, so that none is compared with another's."""
    names = [trial.name for trial in trials]
    sources = (all_of.results, all_of.repeats)
    for hardware in sorted({k.hardware for s in sources for k in s.values()}):
        found = {
            name: source[name]
            for name in names
            for source in sources
            if name in source and source[name].hardware == hardware
        }
        if len(found) == len(set(names)):
            return found
    return all_of.results


@dataclasses.dataclass(frozen=True)
class Block:
    """What stands between two comments of the page."""

    text: str  # Markdown
    figures: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    # name of the file -> what it shows in words, SVG

    def markdown(self, link: str) -> str:
        """Figures by links into the folder `link`, then the text."""
        shown = [picture(alt, f"{link}/{n}") for n, (alt, _) in self.figures.items()]
        return "\n\n".join([*shown, self.text])


def figure(name: str, alt: str, drawing: Any) -> dict[str, tuple[str, str]]:
    return {f"{name}.svg": (alt, figures.standalone(drawing, alt=alt))}
