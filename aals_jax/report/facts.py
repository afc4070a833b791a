"""What defines the numbers of a page: title, lead, facts, by the kind of page."""

from collections.abc import Mapping

from aals_jax.report import wording

KIND_TITLES = {  # result["kind"]: what stands after the title in the browser's tab
    "run": "AALS run report",
    "score": "detection score report",
}
# names that are not read as words
METHOD_TITLES = {"aals": "AALS", "mil": "MIL", "pi_model": "Pi-model"}
# entries of a result with a place of their own on the page
_PLACED = frozenset(
    (
        *("title", "kind", "format", "disclaimer", "finding", "method", "scale"),
        "run_version",
        *("seed", "commit", "data", "metrics", "config", "settings", "versions"),
        *("warnings", "notes", "operating_points", "calibration", "subgroups"),
        *("differences", "monitors", "initial_weights"),
    )
)


def kind(result: Mapping) -> str:
    """`run` or `score`; ValueError for anything else."""
    name = result.get("kind", "run")
    if name not in KIND_TITLES:
        raise ValueError(f"result['kind']={name!r}; use one of {list(KIND_TITLES)}")
    return name


def title(result: Mapping) -> str:
    text = str(result["title"])
    return text[:1].upper() + text[1:]


def lead(result: Mapping) -> list[tuple[str, str]]:
    """The line under the title: what ran, at which scale, on what."""
    method, commit = result.get("method"), result.get("commit")
    if method is not None:
        method = METHOD_TITLES.get(method, str(method).replace("_", " "))
    return _recorded(
        result,
        {
            "Method": method,
            "Scale": result.get("scale"),
            "Data": result["data"].get("source"),
            "Seed": result.get("seed"),
            "Commit": str(commit)[:10] if commit else None,
        },
    )


def facts(result: Mapping) -> list[tuple[str, str]]:
    """The table of facts, data in full, and every further plain entry of the result."""
    data = dict(result["data"])
    data.pop("splits", None)
    start = _recorded(
        result,
        {
            "Finding": result.get("finding"),
            "Method": result.get("method"),
            "Data source": data.pop("source", None),
            "Data hash": data.pop("data_hash", None),
        },
    )
    prevalence = data.pop("prevalence", None)
    if prevalence is not None:
        start.append(("Prevalence", wording.percent(prevalence)))
    end = {"Seed": result.get("seed"), "Commit": result.get("commit")}
    others = {
        key: value
        for key, value in result.items()
        if key not in _PLACED and isinstance(value, (str, int, float))
    }
    started = {
        f"initial weights, {name}": text
        for name, text in (result.get("initial_weights") or {}).items()
    }
    return [
        *start,
        *_named(data),
        *_named(started),
        *_named(others),
        *_recorded(result, end),
    ]


def _named(tree: Mapping) -> list[tuple[str, str]]:
    rows = ((name.replace("_", " "), text) for name, text in wording.flatten(tree))
    return [(name[:1].upper() + name[1:], text) for name, text in rows]


def _recorded(result: Mapping, entries: Mapping[str, object]) -> list[tuple[str, str]]:
    """A run owes every entry and says which it lacks; a scoring shows what it has."""
    owed = kind(result) == "run"
    return [
        (name, wording.UNRECORDED if value in (None, "") else str(value))
        for name, value in entries.items()
        if owed or value not in (None, "")
    ]
