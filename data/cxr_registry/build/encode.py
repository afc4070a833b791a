"""Studies to examples: one by a pure function, all of them by a pool of processes."""

import functools
import hashlib
import json
from collections.abc import Callable, Generator, Iterable
from typing import Any, NamedTuple

import cv2
import numpy as np

from data.cxr_registry.build.options import BuildOptions
from data.cxr_registry.dicom import reader
from data.cxr_registry.guard import pool, privacy
from data.cxr_registry.tables import records

LATERAL = "is a lateral film, and the set is of frontal ones; to keep it, allow lateral"
VIEWS_DIFFER = (
    "its View Position is frontal, and other words of its header name a lateral film; "
    "look at it, then leave it out or allow view"
)


class Encoded(NamedTuple):
    """An example ready to write, and what the build counts beside it."""

    example: dict[str, Any]  # image: PNG bytes
    source: str  # of the brightness, see grayscale.BrightnessTable
    modality: str


class Refused(NamedTuple):
    """A study for the quarantine."""

    row: int
    reason: str
    is_lost: bool = False  # its process was lost, perhaps by the machine's fault alone

    @property
    def is_bad(self) -> bool:
        """Whether the file is unusable, and not only of another view."""
        return self.reason not in (LATERAL, VIEWS_DIFFER)


def encode_study(study: records.Study, *, options: BuildOptions, key: bytes) -> Encoded:
    """Reads one study, makes its image square, and replaces its identifiers.

    Args:
        study: a checked row.
        options: of the build.
        key: secret of the pseudonyms.

    Raises:
        UnreadableRadiograph: with the reason and the remedy.
    """
    image = reader.read_radiograph(study.path, modalities=options.modalities)
    if image.burned_in and not options.keep_burned_in:
        raise reader.UnreadableRadiograph(
            "is flagged as having burned-in text, which may name the patient; look at "
            "it, then allow burned_in"
        )
    if is_lateral(study, image.is_lateral) and not options.keep_laterals:
        raise reader.UnreadableRadiograph(LATERAL)
    if image.views_differ and not options.keep_views_differ:
        raise reader.UnreadableRadiograph(VIEWS_DIFFER)
    square = reader.to_square(image.pixels, options.side, bits=options.bits)
    is_encoded, png = cv2.imencode(".png", square.pixels)
    if not is_encoded:
        raise reader.UnreadableRadiograph("could not be written as PNG")
    scale = options.side / max(image.pixels.shape)
    spacing = image.spacing_mm / scale if image.spacing_mm else float("nan")
    return Encoded(
        example={
            "image": png.tobytes(),
            "labels": dict(study.labels),
            "lesion_counts": dict(study.counts),
            "objects": _objects(study, image, square, options),
            "content": np.array(square.content, np.float32),
            "patient": privacy.pseudonym(key, "patient", study.patient),
            "image_id": privacy.pseudonym(key, "image", study.image),
            "row": study.row,
            "days": study.days,
            "view": study.view if study.view in reader.VIEWS else image.view,
            "sex": study.sex,
            "age_band": age_band(study.age),
            "stored_shape": np.array(image.stored_shape, np.int64),
            "spacing_mm": np.float32(spacing),
        },
        source=image.source,
        modality=image.modality,
    )


def is_lateral(study: records.Study, by_header: bool) -> bool:
    """Whether the table or the header calls the film lateral; one of them suffices."""
    return by_header or study.view in reader.LATERALS


def attempt(
    study: records.Study, *, options: BuildOptions, key: bytes
) -> Encoded | Refused:
    """As `encode_study`, but for a pool: a refusal is returned and not raised."""
    try:
        return encode_study(study, options=options, key=key)
    except reader.UnreadableRadiograph as error:
        return Refused(study.row, str(error))
    except Exception as error:  # its text may hold the path; the build goes on
        return Refused(study.row, f"could not be encoded ({type(error).__name__})")


def encode_all(
    studies: Iterable[records.Study],
    *,
    options: BuildOptions,
    key: bytes,
    workers: int,
) -> Generator[Encoded | Refused, None, None]:
    """The studies' examples or refusals, in order, from a pool of processes.

    Args:
        studies: checked rows.
        options: of the build; its limits hold for each file.
        key: secret of the pseudonyms.
        workers: processes; 0 works in this one, without limits.
    """
    return pool.map_in_order(
        functools.partial(attempt, options=options, key=key),
        studies,
        workers=workers,
        timeout_s=options.timeout_s,
        memory_bytes=round(options.memory_gib * (1 << 30)),
        on_timeout=functools.partial(_refuse_lost, options=options),
    )


def _refuse_lost(study: records.Study, *, options: BuildOptions) -> Refused:
    reason = (
        f"took longer than {options.timeout_s:g} s, or more than "
        f"{options.memory_gib:g} GiB, or crashed its decoder; re-export the file, or "
        "leave its row out"
    )
    return Refused(study.row, reason, is_lost=True)


def serializer(options: BuildOptions) -> Callable[[Any], bytes]:
    """The function from an example to the bytes of its record."""
    # seconds to import: spared the processes of the pool
    from data.cxr_registry import cxr_registry_dataset_builder

    features = cxr_registry_dataset_builder.features(
        findings=options.findings, side=options.side, bits=options.bits
    )
    return functools.partial(cxr_registry_dataset_builder.serialize, features)


def age_band(age: int | None) -> str:
    """The decade, such as "30-39"; "90+" for the few whom their age would identify."""
    if age is None:
        return ""
    return "90+" if age >= 90 else f"{age // 10 * 10}-{age // 10 * 10 + 9}"


def digest(example: dict[str, Any], split: str) -> str:
    """SHA-256 of all that a model can learn from, which no pseudonym is part of.

    That is the pixels, labels, boxes, the split, and counts of lesions where the record
    has any: datasets without counts keep the hash that they had before counts existed.
    """
    facts = {
        "image": hashlib.sha256(example["image"]).hexdigest(),
        "labels": example["labels"],
        "objects": [
            [item["site"], item["bbox"].tolist()] for item in example["objects"]
        ],
        "split": split,
    }
    if max(example["lesion_counts"].values()) >= 0:
        facts["lesion_counts"] = example["lesion_counts"]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _objects(
    study: records.Study,
    image: reader.Radiograph,
    square: reader.Square,
    options: BuildOptions,
) -> list[dict[str, Any]]:
    """Boxes as f32 (ymin, xmin, ymax, xmax) of the square, site by its name."""
    stored = np.array([region[1:] for region in study.regions], np.float64)
    boxes = reader.map_boxes(square.affine, image.orient(stored)) / options.side
    boxes = np.clip(boxes, 0, 1)[:, [1, 0, 3, 2]].astype(np.float32)
    return [
        {"bbox": box, "site": region.site}
        for box, region in zip(boxes, study.regions, strict=True)
    ]
