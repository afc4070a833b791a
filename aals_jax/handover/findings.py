"""From what a net says of a film to a record of findings in its stored pixels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aals_jax.handover.folder import Model
from aals_jax.runtime import provenance
from data.reading_room import films, sides
from data.reading_room.films import Film

FORMAT = 1  # of a film's JSON; raised when a key changes its meaning or goes
IMAGE, LESION = "image", "lesion"  # levels of an operating point
_DIGITS = 3  # of a coordinate, px


def record(
    film: Film, model: Model, *, score: float, boxes: np.ndarray, point: str
) -> dict[str, Any]:
    """What the film's JSON holds.

    Args:
        film: the film.
        model: that was asked.
        score: of the image, 0 .. 1.
        boxes: f64[k, 5] of `model_maps.boxes`.
        point: name of the operating point from which on a box is reported.
    """
    on_film = np.concatenate(
        [np.maximum(boxes[:, :2], film.content[:2]),
         np.minimum(boxes[:, 2:4], film.content[2:])], axis=1
    )  # fmt: skip
    stored = films.map_boxes(film.to_stored, on_film, film.stored_shape)
    probability, reason = None, model.calibration_reason
    if model.calibration is not None:
        probability = float(model.calibration(np.array([score]))[0])
    # a model that was trained on lateral films knows them
    known = {"lateral"} & {*model.preprocessing.allow}
    flagged = [n for n, raised in film.flags.items() if raised and n not in known]
    beyond = [name for name in flagged if name in films.OUT_OF_DISTRIBUTION]
    return {
        "format": FORMAT,
        "disclaimer": provenance.DISCLAIMER,
        "film": film.number,
        "model": {"title": model.title, "manifest_sha256": model.digest},
        "finding": model.finding,
        "score": score,
        "probability": probability,
        **({"probability_reason": reason} if probability is None else {}),
        **(
            {"probability_prevalence": model.calibration.prevalence}
            if model.calibration is not None
            else {}
        ),
        "decisions": [
            _decision(one, score) for one in model.points if one["level"] == IMAGE
        ],
        "reported_from": point,
        "boxes": [
            _box(box, value, model.points, point) | {"side": side}
            for box, value, side in zip(
                stored.tolist(),
                boxes[:, 4].tolist(),
                sides.of_boxes(on_film, film.content, known=film.sides_known),
                strict=True,
            )
        ],
        "sides": sides.SAID,
        "unit": "px of the stored image: pixel i covers [i, i + 1), x to the right",
        "stored_shape": list(film.stored_shape),
        "flags": dict(film.flags),
        "beyond_model": beyond,
        "in_distribution": not beyond,
        "warnings": [films.FLAGS[name] for name in flagged],
    }


def _decision(point: Mapping[str, Any], score: float) -> dict[str, Any]:
    threshold = point["threshold"]
    return {
        "point": point["name"],
        "threshold": threshold,
        "positive": None if threshold is None else score >= threshold,
        **({"reason": point["reason"]} if threshold is None else {}),
    }


def _box(
    box: Sequence[float], score: float, points: Sequence[Mapping[str, Any]], chosen: str
) -> dict[str, Any]:
    reached = [
        point["name"]
        for point in points
        if point["level"] == LESION
        and point["threshold"] is not None
        and score >= point["threshold"]
    ]
    corners = zip(("x0", "y0", "x1", "y1"), box, strict=True)
    return {
        **{name: round(value, _DIGITS) for name, value in corners},
        "score": score,
        "points": reached,
        "reported": chosen in reached,
    }


def point_named(model: Model, name: str) -> str:
    """The lesion-level operating point of that name; "": the strictest.

    Raises:
        ValueError: the model has no such point; the text lists them.
    """
    names = [point["name"] for point in model.points if point["level"] == LESION]
    if not name:
        return names[0]
    if name not in names:
        raise ValueError(f"--point={name!r}: the model has {', '.join(names)}")
    return name
