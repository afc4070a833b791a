"""The page of a worklist: the film to box next first, with the reasons for it."""

from collections.abc import Mapping
from typing import Any

from aals_jax.report import page, wording


def render(facts: Mapping[str, Any]) -> str:
    """The page as text; pictures are files beside it.

    Args:
        facts: finding, phantom, model, others (titles), asked, and films, each with
            place, row, picture (path from the page), record, sentences and boxes (how
            many candidates).
    """
    return (
        page.environment()
        .get_template("worklist.html")
        .render(
            title=f"Films to box next: {facts['finding']}",
            lead=[
                ("Model", facts["model"]),
                ("Films", wording.number(len(facts["films"]))),
            ],
            phantom=facts["phantom"],
            facts=facts,
        )
    )
