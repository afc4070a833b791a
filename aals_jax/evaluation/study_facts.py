"""What a study's author alone can state: a TOML file that fills checklists.

FACTS has every key with what it asks for; `template` is an empty file of them, `read` a
filled one. What the author writes is shown as it is, on the page and in the JSON.
"""

import dataclasses
import datetime
import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aals_jax.runtime import files, log
from data.cxr_registry.guard import checks

EXCLUSIONS = "exclusions"  # an array of tables, see `Exclusion`
# section -> key -> what it asks for
FACTS: Mapping[str, Mapping[str, str]] = {
    "article": {
        "title": "title of the report: names the kind of AI and a measure of accuracy",
        "abstract": "where the structured abstract is",
    },
    "study": {
        "background": "clinical background, and what exists already",
        "intended_use": "who is to use it, on whom, at which step of care",
        "inequalities": "known inequalities in health between groups of people",
        "objectives": "goal and hypotheses; development, evaluation or both",
        "design": "prospective or retrospective",
        "sample_size": "size that was intended, and how it was determined",
        "prespecified": "which cut-offs and analyses were fixed beforehand",
        "limitations": "bias, uncertainty, to whom the results apply",
        "implications": "what follows for practice",
        "next_steps": "what has to be studied next",
    },
    "participants": {
        "source": "where the data come from, and how representative they are",
        "dates": "first and last date of collection",
        "setting": "kind, number and places of centres",
        "eligibility": "criteria of inclusion and exclusion",
        "identification": "how eligible participants were found",
        "sampling": "consecutive, random or convenience series",
        "characteristics": "age, sex, clinical characteristics, of each part",
        "severity": "severity among those with the condition",
        "alternative_diagnoses": "other diagnoses among those without it",
        "treatments": "treatments before the films",
        "compared_with_development": "differences from the data of development",
    },
    "data": {
        "acquisition": "devices, views, protocol of the images",
        "preprocessing": "from the stored image to the model's input, quality checks",
        "subsets": "parts of the data that were chosen, and by whom",
        "deidentification": "how identities were removed",
        "missing": "what was done with missing images, labels and scores",
        "indeterminate": "what was done with results that could not be decided",
        "partitions": "how patients were assigned to training, validation and test",
    },
    "reference_standard": {
        "definition": "how the truth was obtained",
        "rationale": "why so",
        "cut_off": "from when on it was called positive, fixed beforehand or not",
        "annotators": "number, qualification and training of those who annotated",
        "annotation": "tool and procedure for the test set, how disputes were settled",
        "agreement": "variability between and within annotators",
        "blinding": "what annotators knew of the model and of clinical information",
        "interval": "time and treatment between film and reference standard",
        "adverse_events": "harm done by either test",
    },
    "model": {
        "description": "architecture, inputs and outputs, version",
        "blinding": "what those who ran or read it knew of the reference standard",
        "predictors": "inputs of the model, how chosen, measured and handled",
        "predictor_assessors": "who assessed inputs that need judgement",
        "software": "libraries with their versions",
        "initialization": "random, or weights of which origin",
        "training": "data, augmentation, optimiser, length, number of models",
        "selection": "how the final model was chosen",
        "ensembling": "how several models were joined",
        "class_imbalance": "methods against it, and how scores were recalibrated",
        "output": "what a score means",
        "calculation": "how the scores of this set were computed",
        "updating": "recalibration or retraining after this evaluation",
        "explainability": "methods, and how they were validated",
        "input_quality": "what to do with poor or missing images",
        "users": "what users have to do and to know",
    },
    "evaluation": {
        "robustness": "sensitivity analyses",
        "internal": "tests on data of the same origin as those of training",
        "external": "tests on data of another origin, or why there are none",
        "clusters": "differences between centres or devices, how they were measured",
        "fairness": "what was done for it",
        "failures": "which cases failed, and why",
    },
    "open_science": {
        "ethics": "committee, approval, consent",
        "registration": "registry and number, or that there is none",
        "protocol": "where it can be read, or that there is none",
        "funding": "sources, and the role of funders",
        "conflicts": "conflicts of interest",
        "data": "how the data can be had",
        "code": "how the code of the analysis can be had",
        "model": "how the trained model can be had",
        "public_involvement": "part that patients and the public had",
    },
}
_EXCLUSION_KEYS = ("reason", "images", "patients")
_UNSAID = frozenset(
    ("todo", "tbd", "fixme", "xxx", "nan", "...", "\N{HORIZONTAL ELLIPSIS}")
)
_SCALAR = (str, int, float, datetime.date, datetime.time)


@dataclasses.dataclass(frozen=True)
class Exclusion:
    """What was left out before the tables were made."""

    reason: str
    images: int | None = None  # None: not stated
    patients: int | None = None


@dataclasses.dataclass(frozen=True)
class StudyFacts:
    """What the author stated; nothing where there is no file."""

    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)  # section.key
    exclusions: tuple[Exclusion, ...] | None = None  # None: not stated

    def as_json(self) -> dict[str, Any] | None:
        """As result.json holds it; None where nothing is stated."""
        if not self.facts and self.exclusions is None:
            return None
        stated: dict[str, Any] = {"facts": dict(self.facts)}
        if self.exclusions is not None:
            stated["exclusions"] = [
                {k: v for k, v in dataclasses.asdict(one).items() if v is not None}
                for one in self.exclusions
            ]
        return stated


UNSTATED = StudyFacts()


class StudyFactsError(ValueError):
    """Everything wrong with the file, in one message."""


def template() -> str:
    """An empty file: every key with what it asks for; "" is not stated.

    >>> "annotators" in tomllib.loads(template())["reference_standard"]
    True
    """
    lines = [
        "# Facts of the study that a scoring can't know (docs/scoring.md). What stays",
        '# empty, "", is listed as to be stated. A text, a number, a date, or a list',
        '# of them: ["a", "b"].',
        "",
        "# What was left out before the tables were made, one block each; or, if",
        "# nothing was, the line:  exclusions = []",
        "# [[exclusions]]",
        '# reason = "lateral view"',
        "# images = 12",
        "# patients = 9  # those of whom no image is left",
    ]
    for section, keys in FACTS.items():
        lines += ["", f"[{section}]"]
        for key, asks in keys.items():
            lines += [f"# {asks}", f'{key} = ""']
    return "\n".join(lines) + "\n"


def write_template(path: Path) -> None:
    """Writes `template` to a new file.

    Raises:
      FileExistsError: there is a file already, which may have been filled.
    """
    if path.exists():
        raise FileExistsError(f"{path.name} is there already: name a new file")
    files.write_text(path, template())
    log.info("the template: %s", path)


def read(path: Path) -> StudyFacts:
    """The facts of a file.

    Raises:
      StudyFactsError: it is no TOML; or every unknown key, with the nearest name, and
        every value that states nothing.
      FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path.name}: no such file")
    try:
        tree = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        text = f"{path.name}: not UTF-8 from byte {error.start} on; save it as UTF-8"
        raise StudyFactsError(text) from None
    except tomllib.TOMLDecodeError as error:
        text = f"{path.name}: no TOML: {error}; --study_template=FILE writes an example"
        raise StudyFactsError(text) from None
    problems = [*_strange_keys(tree), *_strange_values(tree)]
    exclusions = tree.get(EXCLUSIONS)
    problems += [] if exclusions is None else _strange_exclusions(exclusions)
    if problems:
        lines = checks.list_first(problems, bullet="- ")
        raise StudyFactsError(
            "\n".join([f"{path.name}: {len(problems)} fault(s)", *lines])
        )
    stated = {
        f"{section}.{key}": text
        for section, keys in FACTS.items()
        for key in keys
        if (text := _text(tree.get(section, {}).get(key, "")))
    }
    found = (
        None if exclusions is None else tuple(Exclusion(**row) for row in exclusions)
    )
    return StudyFacts(stated, found)


def _strange_keys(tree: Mapping[str, Any]) -> Iterator[str]:
    """Sections and keys that there are not, and what they may have meant."""
    home: dict[str, str] = {}
    for section, keys in FACTS.items():
        for key in keys:
            home[key] = f"{home[key]} or [{section}]" if key in home else f"[{section}]"
    for name, value in tree.items():
        if name == EXCLUSIONS:
            continue
        if name not in FACTS:
            if isinstance(value, Mapping):
                yield f"[{name}]: no such section{_nearest(name, (*FACTS, EXCLUSIONS))}"
            elif name in home:
                yield f"{name}: belongs under {home[name]}"
            else:
                near = _nearest(name, (*home, EXCLUSIONS))
                yield f"{name}: no such key, and above the first section{near}"
        elif not isinstance(value, Mapping):
            yield f"{name}: is a section: write [{name}] and its keys below"
        else:
            for key in sorted(value.keys() - FACTS[name].keys()):
                elsewhere = f"; it belongs under {home[key]}" if key in home else ""
                near = elsewhere or _nearest(key, FACTS[name]) or _nearest(key, home)
                yield f"{name}.{key}: no such key{near}"


def _nearest(name: str, names: Any) -> str:
    found = difflib.get_close_matches(name.lower(), list(names), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def _strange_values(tree: Mapping[str, Any]) -> Iterator[str]:
    for section, keys in FACTS.items():
        given = tree.get(section, {})
        for key in keys if isinstance(given, Mapping) else ():
            value = given.get(key, "")
            items = value if isinstance(value, list) else [value]
            if not all(isinstance(item, _SCALAR) for item in items):
                yield f"{section}.{key}: must be text, number, date, or a list of them"
            elif isinstance(value, list) and not all(map(_text, items)):
                yield f"{section}.{key}: has an empty entry"
            elif any(_text(item).lower() in _UNSAID for item in items):
                yield f'{section}.{key}: states nothing: leave it "" until known'


def _strange_exclusions(rows: Any) -> Iterator[str]:
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        text = f"write a block [[{EXCLUSIONS}]] for each, or {EXCLUSIONS} = []"
        yield f"{EXCLUSIONS}: {text}"
        return
    for number, row in enumerate(rows, start=1):
        where = f"[[{EXCLUSIONS}]] number {number}"
        for key in sorted(row.keys() - set(_EXCLUSION_KEYS)):
            yield f"{where}: {key}: no such key{_nearest(key, _EXCLUSION_KEYS)}"
        reason = row.get("reason")
        if not isinstance(reason, str) or not _text(reason):
            yield f"{where}: needs a reason"
        counts = {k: row[k] for k in ("images", "patients") if k in row}
        wrong = [k for k, n in counts.items() if type(n) is not int or n < 0]
        if wrong:
            yield f"{where}: {', '.join(wrong)} must be a whole number, 0 or more"
        elif not counts:
            yield f"{where}: needs images or patients, the number left out"
        elif counts.get("patients", 0) > counts.get("images", float("inf")):
            yield f"{where}: more patients than images"


def _text(value: Any) -> str:
    """One line; a list with semicolons, a truth value as yes or no."""
    if isinstance(value, list):
        return "; ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(str(value).split())
