"""What the pages of a study are made of: blocks that the program writes, and pages.

People write around the blocks, which stand between two comments of a page.
"""

import dataclasses
from collections.abc import Callable, Mapping

from aals_jax.report import markdown, plots, study_figures
from aals_jax.study.kept import Study

NOT_RUN = "Not run."


@dataclasses.dataclass(frozen=True)
class Block:
    """What the program writes between two comments of a page."""

    text: str  # Markdown
    figures: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    # name of the file -> what it shows in words, SVG

    def as_markdown(self, folder: str) -> str:
        """Links to the figures, which lie in `folder` as seen from the page, then the
        text."""
        links = [
            markdown.picture(alt, f"{folder}{name}")
            for name, (alt, _) in self.figures.items()
        ]
        return "\n\n".join([*links, self.text])


def figure(name: str, alt: str, drawing: plots.Drawing) -> dict[str, tuple[str, str]]:
    """The figures of a block that has one."""
    return {f"{name}.svg": (alt, study_figures.standalone(drawing, alt=alt))}


def of_text(make: Callable[[Study], str]) -> Callable[[Study], Block]:
    """The maker of a block that is text alone."""
    return lambda study: Block(make(study))


@dataclasses.dataclass(frozen=True)
class Page:
    """A Markdown page as it begins: a title and blocks."""

    title: str
    blocks: tuple[str, ...]  # their names, in their order on the page

    @property
    def template(self) -> str:
        blocks = [f"<!-- {name} -->\n<!-- end {name} -->" for name in self.blocks]
        return "\n\n".join([f"# {self.title}", *blocks]) + "\n"


@dataclasses.dataclass(frozen=True)
class Layout:
    """All pages of a kind of study, and what fills them."""

    main: Page
    pages: Mapping[str, Page]  # beside the main one, by file name
    blocks: Mapping[str, Callable[[Study], Block]]  # by name

    def make_blocks(self, study: Study) -> dict[str, Block]:
        """Every block, by name."""
        return {name: make(study) for name, make in self.blocks.items()}
