"""The card of a model that is handed over: README.md as model hubs read it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aals_jax.report import entries, markdown, wording

_UNKNOWN = "unknown"


def text(facts: Mapping[str, Any]) -> str:
    """The card as Markdown, with a hub's front matter; same facts, same text.

    Args:
        facts: `finding`, `method`, `model`, `license`, `disclaimer`, `net`, `data`,
            `metrics`, `operating_points`, `calibration`, `preprocessing`, `notes`,
            `warnings`, `versions`, `commit`, `batch`, `initial_weights`; as the files
            of the folder hold them.
    """
    finding, data = facts["finding"], facts["data"]
    sections = [
        _front_matter(facts),
        f"# {finding}: {facts['method']}, {facts['model']}",
        f"**{facts['disclaimer']}** Not for use on patients.",
        *(f"**{warning}**" for warning in facts["warnings"]),
        "## Intended use",
        f"Research on the finding `{finding}` in frontal chest radiographs, by people "
        "who can judge such films. It gives a map of probabilities, "
        "a score of the image and boxes. It is not meant for diagnosis, triage, or any "
        "decision on a patient, and it has been approved by nobody for that.",
        "## What it was measured on",
        _data(data),
        *_phantom(data),
        _metrics(facts["metrics"]),
        "Intervals: 95 %, bootstrap over patients. The test images were scored once.",
        "## Operating points",
        "Thresholds were chosen on validation, and measured on test.",
        _points(facts["operating_points"]),
        "## Calibration",
        _calibration(facts["calibration"]),
        "## Limits",
        "\n".join(f"- {line}" for line in _limits(facts)),
        "## How to use it",
        """    python launch.py --mode=predict --model MODEL --input FILES --out DIR""",
        _programs(facts),
        "## How it was made",
        markdown.table(("", ""), _made(facts)),
        *(f"- {note}" for note in facts["notes"]),
        "`manifest.json` has the SHA-256 of every file. Weights come from images of "
        "patients where the data are not drawn, and a network may have memorised some "
        "of them: hand the folder on as your rules for health data say.",
    ]
    return "\n\n".join(part for part in sections if part) + "\n"


def _front_matter(facts: Mapping[str, Any]) -> str:
    """YAML; every text as a JSON string, which YAML takes as it is."""
    name = f"{facts['finding']} {facts['method']} {facts['model']}"
    data = facts["data"]
    lines = [
        "---",
        f"license: {json.dumps(facts['license'] or _UNKNOWN)}",
        'library_name: "flax"',
        'pipeline_tag: "object-detection"',
        "tags:",
        *(
            f"- {json.dumps(tag)}"
            for tag in ("radiography", "jax", "research-only", facts["finding"])
        ),
        "model-index:",
        f"- name: {json.dumps(name)}",
        "  results:",
        "  - task:",
        '      type: "object-detection"',
        "    dataset:",
        f"      name: {json.dumps(_source(data))}",
        f"      type: {json.dumps('private')}",
        '      split: "test"',
        f"      revision: {json.dumps(data['data_hash'])}",
        "    metrics:",
    ]
    for metric, entry in facts["metrics"].items():
        if entry["value"] is None:
            continue
        lines += [
            f"    - type: {json.dumps(metric)}",
            f"      name: {json.dumps(wording.title(metric))}",
            f"      value: {json.dumps(entry['value'])}",
        ]
    return "\n".join([*lines, "---"])


def _source(data: Mapping[str, Any]) -> str:
    return "a drawn phantom" if data["source"] == "phantom" else "a hospital's registry"


def _phantom(data: Mapping[str, Any]) -> Sequence[str]:
    if data["source"] != "phantom":
        return ()
    return (
        "**The films are drawn.** The numbers show that the code works and say nothing "
        "about patients.",
    )


def _data(data: Mapping[str, Any]) -> str:
    rows = [
        ("data", _source(data)),
        ("data hash", f"`{data['data_hash']}`"),
        ("SHA-256 of the data card", f"`{data['data_card_sha256'] or 'no card'}`"),
        *(
            (
                f"images, {split}",
                ", ".join(f"{wording.number(n)} {kind}" for kind, n in counts.items()),
            )
            for split, counts in data["splits"].items()
        ),
    ]
    return markdown.table(("", ""), [(a, b.replace("_", " ")) for a, b in rows])


def _interval(entry: Mapping[str, Any]) -> str:
    """`0.812 [0.771, 0.850]`, or why there is no value."""
    if entry.get("value") is None:
        return f"none: {entry.get('reason', 'not recorded')}"
    value, low, high = wording.interval(*map(entry.get, entries.ENDS))
    return f"{value} [{low}, {high}]" if entries.has_ends(entry) else value


def _metrics(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    return markdown.table(
        ("metric", "test", "images", "patients", "lesions", "prevalence"),
        [
            (
                wording.title(name),
                _interval(entry),
                *(
                    wording.number(entry.get(key))
                    for key in ("n_images", "n_patients", "n_lesions", "prevalence")
                ),
            )
            for name, entry in metrics.items()
        ],
    )


def _points(points: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for point in points:
        reached = ", ".join(
            f"{wording.title(name)} {_interval(entry)}"
            for name, entry in point["measured"].items()
        )
        shown = wording.threshold(point["threshold"])
        rows.append((point["name"], point["level"], shown, reached or point["reason"]))
    return markdown.table(("point", "level", "threshold", "on test"), rows)


def _calibration(calibration: Mapping[str, Any]) -> str:
    fitted = calibration["fitted"]
    if fitted is None:
        return f"There is none: {calibration['reason']}."
    lines = [
        f"p = expit({fitted['slope']:.4g} logit(score) + {fitted['intercept']:.4g}), "
        f"fitted on {fitted['images']} validation images, of which "
        f"{wording.percent(fitted['prevalence'])} are positive. It holds for that "
        "prevalence: where positives are rarer, the probabilities are too high.",
        markdown.table(
            ("on test", "score", "calibrated"),
            [
                (wording.title(name), *(_interval(e) for e in pair.values()))
                for name, pair in calibration["test"].items()
            ],
        ),
    ]
    return "\n\n".join(lines)


def _limits(facts: Mapping[str, Any]) -> Sequence[str]:
    side = facts["preprocessing"]["side"]
    return (
        "One set of data is one population and its scanners. On others it may fail "
        "without a sign.",
        "A negative is a record without such a finding, not a film proven clean.",
        f"Films are shrunk to {side} px: what is smaller than a few pixels there can't "
        "be found.",
        "Lateral films, negatives, other parts of the body, films of one grey and "
        "small ones are flagged where header or pixels tell, and are beyond what it "
        "was trained on. What is not flagged may be so too.",
        "A score is no probability; the calibrated one holds for the prevalence above.",
    )


def _programs(facts: Mapping[str, Any]) -> str:
    images = "any number of" if facts["batch"]["stablehlo"] == "any" else "one"
    return (
        "Without that code: `net.cpu.stablehlo`, `net.cuda.stablehlo` and "
        "`net.tpu.stablehlo` are programs of jax.export, `(weights, image) -> "
        f"{facts['output']}` for {images} images float32 of the size in "
        "`preprocessing.json`; the weights are the arrays of `weights.safetensors` by "
        "their names. Those of CUDA and TPU were lowered on another machine."
    )


def _made(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    start = facts["initial_weights"]
    rows = [("net", facts["net"]), ("commit", f"`{facts['commit']}`")]
    if start:
        rows.append(
            (
                "initial weights",
                f"source: {start['source']}; licence: {start['license']}; SHA-256 "
                f"`{start['sha256']}`",
            )
        )
    else:
        rows.append(("initial weights", "random"))
    return rows + [(name, version) for name, version in facts["versions"].items()]
