"""A worklist as files: a table, and candidate boxes for tools in which people draw.

Films are known by their pseudonym and by the row of the registry's table. Boxes are in
pixels of the picture that lies beside them.

Reference: COCO, data format, object detection, as CVAT imports it ("COCO 1.0", images
matched by file_name); Label Studio, pre-annotations: tasks with `predictions`, whose
rectangles are percent of the picture.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from xml.sax import saxutils

import numpy as np

from data.cxr_registry.guard import formulas

TABLE, COCO = "worklist.csv", "coco.json"
LABEL_STUDIO, LABEL_CONFIG = "label_studio.json", "label_studio.xml"
IMAGES = "images"
HEADER = (
    "place", "row", "image", "record", "reason", "reasons", "value", "peak",
    "disagreement",
)  # fmt: skip


class Chosen(NamedTuple):
    """A film of the worklist."""

    place: int  # from 1
    row: int  # of the registry's studies table
    image: str  # pseudonym; its picture is IMAGES/<image>.png
    record: str  # positive, negative, unknown: what the record says
    reasons: Sequence[str]  # names, of metrics.worklist; the first counts most
    sentences: Sequence[str]  # the same in words
    value: float
    peak: float  # of the model's map, 0 .. 1
    disagreement: float  # 0 .. 1
    size: tuple[int, int]  # width, height of the picture, px
    boxes: np.ndarray  # f64[k, 5], (x0, y0, x1, y1, score), px of the picture


def picture_name(image: str) -> str:
    return f"{image}.png"


def table(chosen: Iterable[Chosen]) -> str:
    """The CSV, a line for each film."""
    stream = io.StringIO(newline="")
    lines = [
        [
            film.place,
            film.row,
            film.image,
            film.record,
            film.reasons[0],
            "; ".join(film.sentences),
            *(f"{n:.4f}" for n in (film.value, film.peak, film.disagreement)),
        ]
        for film in chosen
    ]
    csv.writer(stream, lineterminator="\n").writerows(
        formulas.neutralize_rows([HEADER, *lines])
    )
    return stream.getvalue()


def coco(chosen: Sequence[Chosen], *, finding: str, said: str) -> dict[str, Any]:
    """Images, the finding as the one category, and candidate boxes as annotations.

    Args:
        chosen: the films.
        finding: name of the category, as `site` of a regions table has it.
        said: what the file's reader must know.
    """
    annotations = []
    for film in chosen:
        for x0, y0, x1, y1, score in film.boxes.tolist():
            width, height = x1 - x0, y1 - y0
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": film.place,
                    "category_id": 1,
                    "bbox": [round(v, 3) for v in (x0, y0, width, height)],
                    "area": round(width * height, 3),
                    "iscrowd": 0,
                    "segmentation": [],
                    "score": round(score, 4),
                }
            )
    return {
        "info": {"description": said},
        "licenses": [],
        "images": [
            {
                "id": film.place,
                "file_name": picture_name(film.image),
                "width": film.size[0],
                "height": film.size[1],
            }
            for film in chosen
        ],
        "categories": [{"id": 1, "name": finding, "supercategory": ""}],
        "annotations": annotations,
    }


def label_studio(
    chosen: Sequence[Chosen], *, finding: str, model: str
) -> list[dict[str, Any]]:
    """Tasks with predictions, for `label_config`.

    Args:
        chosen: the films.
        finding: the one label.
        model: what made the candidates.
    """
    return [
        {
            "data": {
                "image": f"/data/local-files/?d={IMAGES}/{picture_name(film.image)}",
                "place": film.place,
                "row": film.row,
                "reasons": "; ".join(film.sentences),
            },
            "predictions": [
                {
                    "model_version": model,
                    "score": round(float(film.boxes[:, 4].max(initial=0.0)), 4),
                    "result": [
                        _rectangle(film, number, box, finding)
                        for number, box in enumerate(film.boxes.tolist(), start=1)
                    ],
                }
            ],
        }
        for film in chosen
    ]


def _rectangle(
    film: Chosen, number: int, box: Sequence[float], finding: str
) -> dict[str, Any]:
    width, height = film.size
    x0, y0, x1, y1, score = box
    return {
        "id": f"{film.place}-{number}",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": round(score, 4),
        "value": {
            "x": round(100 * x0 / width, 4),
            "y": round(100 * y0 / height, 4),
            "width": round(100 * (x1 - x0) / width, 4),
            "height": round(100 * (y1 - y0) / height, 4),
            "rotation": 0,
            "rectanglelabels": [finding],
        },
    }


def label_config(finding: str) -> str:
    """The labelling interface that Label Studio asks for: rectangles of one label."""
    return f"""\
<View>
  <Text name="reasons" value="$reasons"/>
  <Image name="image" value="$image" zoom="true" zoomControl="true"/>
  <RectangleLabels name="label" toName="image">
    <Label value={saxutils.quoteattr(finding)}/>
  </RectangleLabels>
</View>
"""
