"""The page of films that a model was asked about: worst first, by number alone."""

from collections.abc import Mapping
from typing import Any

from aals_jax.report import page, wording


def render(summary: Mapping[str, Any], *, table: str) -> str:
    """The page as text; pictures are files beside it.

    Args:
        summary: what predictions.json holds; films by falling score.
        table: name of the file that says which film is which.
    """
    counts = summary["counts"]
    return (
        page.environment()
        .get_template("predictions.html")
        .render(
            title=f"Films: {summary['finding']}",
            lead=[
                ("Model", summary["model"]["title"]),
                ("Films", wording.number(counts["films"])),
                ("With a reported box", wording.number(counts["with_boxes"])),
                ("Flagged", wording.number(counts["flagged"])),
                ("Refused", wording.number(counts["refused"])),
            ],
            phantom=False,
            summary=summary,
            table=table,
            refused=[r for r in summary["refused"] if not r["is_other_kind"]],
            other=[r for r in summary["refused"] if r["is_other_kind"]],
            number=wording.number,
            threshold=wording.threshold,
        )
    )
