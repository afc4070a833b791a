"""Files of a scoring, written and read."""

import json
from pathlib import Path

import pytest

from aals_jax.evaluation import submissions

IMAGES = "image,label\na,1\nb,0\nc,1\nd,0\n"
LESIONS = "image,lesion,x0,y0,x1,y1\na,1,10,10,30,30\nc,1,100,40,160,120\n"
DETECTIONS = "image,x,y,score\na,20,20,.9\nb,5,5,.3\nc,130,80,.8\n"
NO_LESIONS = "image,lesion,x0,y0,x1,y1\n"
# the boxes of the two lesions, each two units wider on all sides
WIDER = {"a": (8, 8, 32, 32), "c": (98, 38, 162, 122)}


def write(
    folder: Path,
    category: str | None = None,
    subgroups: tuple[str, ...] = (),
    **contents,
) -> submissions.Files:
    """Files of a submission: text is a CSV file, bytes and JSON values a COCO file.

    Args:
        folder: that they are written to.
        category, subgroups: of the submission.
        contents: images, lesions, detections or detections_b.
    """
    paths = {}
    for name, content in contents.items():
        paths[name] = folder / f"{name}.{'csv' if isinstance(content, str) else 'json'}"
        if not isinstance(content, str | bytes):
            content = json.dumps(content)
        data = content.encode() if isinstance(content, str) else content
        paths[name].write_bytes(data)
    detections = (paths.get("detections"), paths.get("detections_b"))
    return submissions.Files(
        images=paths.get("images"),
        lesions=paths.get("lesions"),
        detections=tuple(path for path in detections if path),
        category=category,
        subgroups=subgroups,
    )


def read(folder: Path, **contents) -> submissions.Submission:
    return submissions.read(write(folder, **contents))


def faults(folder: Path, **contents) -> list[str]:
    with pytest.raises(submissions.SubmissionError) as caught:
        read(folder, **contents)
    return list(caught.value.faults)
