"""The data card of a build, from the build's own figures."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def text(facts: Mapping[str, Any]) -> str:
    """The card as Markdown, for whoever gets the dataset; `facts` are build.json's."""
    options = facts["options"]
    findings = ", ".join(options["findings"])
    sections = [
        f"# Chest radiographs with labels for {findings}",
        "Research only, not a medical device. The images are de-identified, but a "
        "radiograph may identify its patient to one who has another of the same: treat "
        "them as health data.",
        _facts(facts),
        "## Splits",
        _splits(facts),
        "## Labels",
        "1 positive, 0 negative, -1 unknown. Unknown images are in no training set and "
        "in no test set. `audit.csv` has what decided each label.",
        _labels(facts),
        "With count: positives whose record says how many lesions there are.",
        "What the labels rest on, in images:",
        _tallies(facts["evidence"]),
        f"Disagreements of two sources: {facts['disagreements']}. Codes of later "
        f"encounters and sequelae left out: {facts['non_acute_codes_left_out']}. Boxes "
        f"of other findings left out: {facts['regions_of_other_sites']}.",
        "## Images",
        _tallies(
            {
                "view": facts["views"],
                "modality": facts["modalities"],
                "brightness from": facts["brightness_from"],
                "sex": facts["sexes"],
                "age": facts["age_bands"],
            }
        ),
        "Brightness as the files state it comes from voi_lut, window or file, and from "
        "image_range where they state none; any other word is a correction of ours.",
        f"Images whose pixels occur before: {facts['images_with_repeated_pixels']}; of "
        f"another patient: {len(facts['same_pixels_of_patients'])}.",
        "## Left out",
        f"{facts['quarantined']} file(s), listed in `quarantine.csv`."
        + _list(facts["quarantine_reasons"]),
        "Problems of the tables that were let pass:"
        + (_list(facts["allowed"]) or " none."),
        "## How it was made",
        "The same registry, key and options give the same bytes.",
        _table(("option", "value"), [(name, _cell(options[name])) for name in options]),
        _table(("package", "version"), sorted(facts["versions"].items())),
        "Limits: one registry is one population and its scanners; labels from "
        "records are as good as the records; a negative is a record without such a "
        "finding, not an image proven clean. Burned-in text is not detected, only its "
        "flag is read.",
    ]
    return "\n\n".join(sections) + "\n"


def _facts(facts: Mapping[str, Any]) -> str:
    options = facts["options"]
    side = options["side"]
    rows = [
        ("images", facts["images"]),
        ("patients", facts["patients"]),
        ("size", f"{side} x {side}, {options['bits']} bits, 0 = air, 1 = bone"),
        ("data hash", f"`{facts['data_hash']}`"),
        ("hash of the parts", f"`{facts['parts_hash'] or 'own splits'}`"),
    ]
    return _table(("", ""), rows)


def _splits(facts: Mapping[str, Any]) -> str:
    names = list(next(iter(facts["split_counts"].values())))
    rows = [
        (split, *(counts[name] for name in names))
        for split, counts in facts["split_counts"].items()
    ]
    return _table(("split", *(name.replace("_", " ") for name in names)), rows)


def _labels(facts: Mapping[str, Any]) -> str:
    names = list(next(iter(facts["counts"].values())))
    rows = [
        (finding, *(counts[name] for name in names))
        for finding, counts in facts["counts"].items()
    ]
    return _table(("finding", *(name.replace("_", " ") for name in names)), rows)


def _tallies(tallies: Mapping[str, Mapping[str, int]]) -> str:
    rows = [
        (name, "; ".join(f"{value}: {number}" for value, number in counts.items()))
        for name, counts in tallies.items()
    ]
    return _table(("", "images"), rows)


def _list(counts: Mapping[str, int]) -> str:
    lines = [f"- {number}: {what}" for what, number in counts.items()]
    return "\n\n" + "\n".join(lines) if lines else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_cell(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)
