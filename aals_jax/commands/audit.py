"""`--mode=audit`: a registry looked through, nothing built; 1 when a fault stands."""

import sys

from aals_jax.commands.command_line import Command

COMMAND = Command(
    "audit",
    summary="looks for faults in a registry, builds nothing, and exits with 1 for one",
    example="""\
python launch.py --mode=audit --registry DIR
python launch.py --mode=audit --registry DIR --findings rib,clavicle --nopixels
python launch.py --mode=audit --registry DIR --sample 200
python launch.py --mode=audit --registry DIR --sampled FILE""",
    required=("registry",),
)
_READ = COMMAND.group("What to look through")
_REGISTRY = _READ.path(
    "registry",
    None,
    "Folder of the registry: studies.csv, the images, and optionally regions.csv.",
    placeholder="DIR",
)
_FINDINGS = _READ.words(
    "findings",
    None,
    "Findings to count, separated by commas. Without it: those that the tables define.",
)
_PIXELS = _READ.switch(
    "pixels",
    True,
    "Read the images too; --nopixels reads the tables alone and takes seconds.",
)
_LABELS = COMMAND.group("How labels and boxes are read")
_NON_ACUTE = _LABELS.switch(
    "keep_non_acute",
    False,
    "Diagnosis codes of later encounters and of sequelae make an image positive as "
    "well, not only codes of the first encounter.",
)
_POINT_RADIUS = _LABELS.number(
    "point_radius",
    32.0,
    "Half the side of the box around a lesion that is marked by a point, in pixels of "
    "the stored image.",
)
_REPORTS = _LABELS.choice(
    "reports",
    ("auto", "always", "never"),
    "Whether labels are read from the column `report`: where nothing else defines the "
    "finding (auto), always, or never.",
    default="auto",
)
_LANGUAGES = _LABELS.words(
    "report_languages", ["en"], "Languages of the reports, of en, de and zh."
)
_RULES = _LABELS.path(
    "report_rules",
    None,
    "Table of your own patterns for reports, used beside the built-in ones "
    "(docs/labels.md).",
)
_OWN_LABELS = _LABELS.path(
    "report_labels",
    None,
    "Table of labels that you made of the reports in another way (image, finding, "
    "label); they count instead of the built-in rules, and the two are compared "
    "(docs/labels.md).",
)
_SILENCE = _LABELS.choice(
    "report_silence",
    ("negative", "unknown"),
    "What the label is where a report does not mention the finding.",
    default="negative",
)
_SAMPLES = COMMAND.group("How right the labels are")
_SAMPLE = _SAMPLES.integer(
    "sample",
    None,
    "Draw so many labels at random, rare kinds among them, and write a sheet on which "
    "a person judges them. It has patient data: it stays in the hospital.",
    lowest=1,
)
_SAMPLE_SEED = _SAMPLES.integer(
    "sample_seed", 0, "Seed of the sample; another one draws others."
)
_SAMPLE_COLUMNS = _SAMPLES.words(
    "sample_columns",
    None,
    "Columns of the studies table that the sheet shows beside the name of the image. "
    "Without it: the report, if there is one.",
)
_SAMPLED = _SAMPLES.path(
    "sampled",
    None,
    "The sheet, filled in: gives precision and recall of the labels with intervals.",
)
_FAULTS = COMMAND.group("What is a fault")
_ALLOW = _FAULTS.words(
    "allow",
    [],
    "Names of checks that may fail, separated by commas; the audit names them.",
)
_BAD_SHARE = _FAULTS.number(
    "max_bad_share",
    0.02,
    "Share of the images, 0 to 1, that may be unusable before that is a fault.",
)
_PARTS_SEED = _FAULTS.integer(
    "parts_seed",
    0,
    "Seed by which patients are dealt to the ten parts, as data.seed of a config.",
)
_PROCESSES = COMMAND.group("Processes")
_WORKERS = _PROCESSES.integer(
    "workers",
    2,
    "Number of processes that read images and reports; 0 reads them in this one, "
    "without --timeout_s.",
    lowest=0,
)
_TIMEOUT = _PROCESSES.number(
    "timeout_s", 60.0, "Seconds that one file may take before it counts as unusable."
)
_OUT = COMMAND.group("What is written").path(
    "out",
    "runs/audit",
    "Folder to write audit.html and audit.json to.",
    placeholder="DIR",
)


@COMMAND.check
def _faults() -> list[str]:
    return [
        *COMMAND.unread(
            (_SAMPLE_SEED, _SAMPLE_COLUMNS),
            when=_SAMPLE.value is not None,
            needs="--sample, which is missing",
        ),
        *COMMAND.unread(
            (_LANGUAGES, _RULES, _SILENCE),
            when=_REPORTS.value != "never" or _OWN_LABELS.value is not None,
            needs="reports, and --reports=never reads none",
        ),
        *COMMAND.unread(
            (_TIMEOUT,),
            when=_WORKERS.value > 0 and _PIXELS.value,
            needs="processes that read images, and there are none",
        ),
    ]


def call() -> None:
    from aals_jax.input import audit
    from data.cxr_registry.labels import report_text
    from data.cxr_registry.tables import records

    reading = records.ReadingOptions(
        keep_non_acute=_NON_ACUTE.value,
        point_radius=_POINT_RADIUS.value,
        reports=report_text.ReportOptions(
            read=_REPORTS.value,
            languages=tuple(_LANGUAGES.value),
            rules=_RULES.value,
            labels=_OWN_LABELS.value,
            silence=_SILENCE.value,
        ),
    )
    options = audit.AuditOptions(
        registry=_REGISTRY.value,
        out=_OUT.value,
        findings=tuple(_FINDINGS.value) if _FINDINGS.value else None,
        allow=tuple(_ALLOW.value),
        pixels=_PIXELS.value,
        seed=_PARTS_SEED.value,
        max_bad_share=_BAD_SHARE.value,
        workers=_WORKERS.value,
        timeout_s=_TIMEOUT.value,
        sample=_SAMPLE.value,
        sample_seed=_SAMPLE_SEED.value,
        sample_columns=None
        if _SAMPLE_COLUMNS.value is None
        else tuple(_SAMPLE_COLUMNS.value),
        sampled=_SAMPLED.value,
        reading=reading,
    )
    COMMAND.own(_OUT.value)
    if not audit.audit(options):
        sys.exit(1)
