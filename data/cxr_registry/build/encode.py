"""One study to one example: a pure function that a pool, or Apache Beam, may map."""

import dataclasses
import hashlib
import json
from typing import Any, NamedTuple

import cv2
import numpy as np

from data.cxr_registry.dicom import reader
from data.cxr_registry.guard import privacy
from data.cxr_registry.tables import records


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What the pixels and features of an example depend on."""

    findings: tuple[str, ...]
    side: int  # pixels of the square
    bits: int  # 8 or 16 a pixel
    keep_burned_in: bool  # whether images flagged with burned-in text pass


LOST = "took longer than"  # begins the reason of a study whose process was lost


class Encoded(NamedTuple):
    """An example ready to write, and what the build keeps count of."""

    example: dict[str, Any]  # image: PNG bytes
    source: str  # see grayscale.Table
    modality: str


class Refused(NamedTuple):
    """A study for the quarantine."""

    row: int
    reason: str

    @property
    def is_lost(self) -> bool:
        """Whether its process was lost: for this machine, not for the file, to say."""
        return self.reason.startswith(LOST)


def encode_study(study: records.Study, *, options: Options, key: bytes) -> Encoded:
    """Reads, squares and de-identifies one study.

    Args:
        study: a checked row.
        options: of the build.
        key: secret of the pseudonyms.

    Raises:
        UnreadableRadiograph: with the reason and the remedy.
    """
    image = reader.read_radiograph(study.path)
    if image.burned_in and not options.keep_burned_in:
        raise reader.UnreadableRadiograph(
            "is flagged as having burned-in text, which may name the patient; look at "
            "it, then allow burned_in"
        )
    square = reader.to_square(image.pixels, options.side, bits=options.bits)
    done, png = cv2.imencode(".png", square.pixels)
    if not done:
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


def attempt(study: records.Study, *, options: Options, key: bytes) -> Encoded | Refused:
    """`encode_study` for a pool: a refusal is a value."""
    try:
        return encode_study(study, options=options, key=key)
    except reader.UnreadableRadiograph as error:
        return Refused(study.row, str(error))
    except Exception as error:  # its text may hold the path; the build goes on
        return Refused(study.row, f"could not be encoded ({type(error).__name__})")


def age_band(age: int | None) -> str:
    """The decade, "30-39"; "90+" for the few whose age alone would name them."""
    if age is None:
        return ""
    return "90+" if age >= 90 else f"{age // 10 * 10}-{age // 10 * 10 + 9}"


def digest(example: dict[str, Any], split: str) -> str:
    """What a model can learn from: pixels, labels, counts, boxes, part; no pseudonym.

    Counts only where the record has some: a dataset without any keeps the hash that it
    had before they were read.
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
    options: Options,
) -> list[dict[str, Any]]:
    """Boxes as f32 (ymin, xmin, ymax, xmax) of the square, site by its name."""
    stored = np.array([region[1:] for region in study.regions], np.float64)
    boxes = reader.map_boxes(square.affine, image.orient(stored)) / options.side
    boxes = np.clip(boxes, 0, 1)[:, [1, 0, 3, 2]].astype(np.float32)
    return [
        {"bbox": box, "site": region.site}
        for box, region in zip(boxes, study.regions, strict=True)
    ]
