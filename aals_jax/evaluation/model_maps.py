"""Maps of a model to its reading: image scores, detections, activated pixels."""

from typing import Any

import numpy as np

from aals_jax.input import batches, views
from aals_jax.metrics import detection, froc, records

HIT = records.Hit()  # a local peak of the map lies in the box


def truth_of(table: batches.Table) -> records.Truth:
    """What the maps of a table are measured against, lesions in pixels of the map."""
    return records.Truth(
        label=table.label == 1,
        judged=(table.label == 0) | table.boxed,
        patient=table.patient,
        lesions=[boxes / views.MAP_STRIDE for boxes in table.boxes],
        groups={name: getattr(table, name) for name in batches.GROUPS},
        unit=(views.MAP_STRIDE, "px of the square"),
    )


def image_scores(maps: np.ndarray, *, valid: np.ndarray, pooling: str) -> np.ndarray:
    """f64[n], one score an image: probabilities f32[n, h, w] pooled over the film."""
    pairs = zip(maps, valid > 0, strict=True)
    return np.array([detection.image_score(m, v, pooling=pooling) for m, v in pairs])


def read_maps(
    maps: np.ndarray, truth: records.Truth, *, valid: np.ndarray, settings: Any
) -> records.Reading:
    """The reading of one model.

    Args:
      maps: f32[n, h, w] probabilities, 0 on padding.
      truth: of the n images.
      valid: f32[n, h, w], 1 on film.
      settings: `config.evaluation`.
    """
    side = maps.shape[1]
    detections = [
        detection.find_detections(
            values,
            min_distance=max(1, round(settings.min_distance * side)),
            threshold=settings.threshold,
            max_detections=settings.max_detections,
            valid=film > 0,
        ).rows()
        for values, film in zip(maps, valid, strict=True)
    ]
    rows = truth.judged_rows
    area = froc.area_data(
        maps[rows], [truth.lesions[i] for i in rows], valid=valid[rows] > 0
    )
    scores = image_scores(maps, valid=valid, pooling=settings.pooling)
    return records.read(truth, scores, detections, hit=HIT, area=area)
