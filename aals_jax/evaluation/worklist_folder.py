"""The folder of a worklist: table, pictures, page, and files for tools that draw."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from aals_jax.evaluation import annotation_files, model_maps, ranking
from aals_jax.evaluation.annotation_files import Chosen
from aals_jax.evaluation.evaluator import Evaluator, TrainedModel
from aals_jax.evaluation.ranking import Ranked
from aals_jax.input import views
from aals_jax.input.dataset import ImageTable
from aals_jax.metrics import worklist
from aals_jax.report import overlay, worklist_page
from aals_jax.runtime import files, log
from data.cxr_registry.guard import atomic

PAGE, FILMS = "index.html", "films"
CANDIDATE_SHARE = 0.5  # of a film's best box: what is lower is no candidate
LARGEST = 0.25  # of the square: a larger box is of a flat map and shows no place
SAID = (
    "RESEARCH ONLY. Boxes here are candidates of a neural network: move, delete and "
    "draw them; none of them is true because it is here."
)


class Facts(NamedTuple):
    """What the page says of the whole."""

    finding: str
    phantom: bool  # drawn films
    others: Sequence[str]  # titles of what the model was compared with
    asked: int  # films wanted
    center: float  # t in (0, 1)


def check_free(out: Path) -> None:
    """Raises ValueError where a folder has a worklist, which may have been drawn in."""
    if (out / annotation_files.COCO).exists():
        raise ValueError(
            f"{out} has a worklist already, in which people may have drawn: choose "
            "another --out"
        )


def write(
    out: Path,
    evaluator: Evaluator,
    model: TrainedModel,
    ranked: Ranked,
    facts: Facts,
    *,
    candidates: int,
) -> Path:
    """Writes pictures, page, Label Studio's files and the table; COCO last, which says
    that all is there.

    Args:
        out: the folder.
        evaluator, model: of the run.
        ranked: the films.
        facts: for the page.
        candidates: boxes a film, at most.

    Returns:
        The path of the table.
    """
    dataset = evaluator.data.dataset
    for folder in (annotation_files.IMAGES, FILMS):
        (out / folder).mkdir(parents=True, exist_ok=True)
    prediction = evaluator.predictor.predict(model.variables, dataset, ranked.table)
    boxes = candidate_boxes(prediction, evaluator.detecting, most=candidates)
    chosen = []
    for i in range(len(ranked.table)):
        picture, left, top = _picture(evaluator, ranked.table, i)
        height, width = picture.shape
        film = Chosen(
            place=i + 1,
            row=dataset.registry_row(ranked.table.split[i], ranked.table.position[i]),
            image=str(ranked.table.image_id[i]),
            record=ranking.RECORDS[int(ranked.record[i])],
            reasons=worklist.reasons(ranked.strength, i),
            sentences=ranking.sentences(ranked, i, center=facts.center),
            value=float(ranked.value[i]),
            peak=float(ranked.seen.peak[i]),
            disagreement=float(ranked.seen.disagreement[i]),
            size=(width, height),
            boxes=_moved(boxes[i], left, top, width, height),
        )
        chosen.append(film)
        heat = cv2.resize(prediction.maps[i], (dataset.side,) * 2)
        _write_pictures(
            out, film, picture, heat[top : top + height, left : left + width]
        )
    for name, content in {
        annotation_files.LABEL_CONFIG: annotation_files.label_config(facts.finding),
        annotation_files.TABLE: annotation_files.table(chosen),
        PAGE: worklist_page.render(_page(facts, model, chosen)),
    }.items():
        files.write_text(out / name, content)
    tasks = annotation_files.label_studio(
        chosen, finding=facts.finding, model=f"{model.name} at step {model.step}"
    )
    files.write_json(out / annotation_files.LABEL_STUDIO, tasks)
    made = annotation_files.coco(chosen, finding=facts.finding, said=SAID)
    files.write_json(out / annotation_files.COCO, made)
    if len(chosen) < facts.asked:
        log.warning(
            "%d films, not %d: no other one has a reason", len(chosen), facts.asked
        )
    log.info("the page: %s", out / PAGE)
    log.info("the worklist: %s", out / annotation_files.TABLE)
    return out / annotation_files.TABLE


def _picture(
    evaluator: Evaluator, table: ImageTable, i: int
) -> tuple[np.ndarray, int, int]:
    """The film without padding, u8[h, w], and where it begins in the square."""
    image = evaluator.data.dataset.read(table.split[i], table.position[i]).image
    if image.dtype != np.uint8:
        image = (image >> 8).astype(np.uint8)
    left, top, right, bottom = np.rint(table.content[i]).astype(int)
    return np.ascontiguousarray(image[top:bottom, left:right]), int(left), int(top)


def candidate_boxes(
    prediction: model_maps.Prediction, detecting: model_maps.Detecting, *, most: int
) -> list[np.ndarray]:
    """n of f64[k, 5], (x0, y0, x1, y1, score), px of the square, score descending.

    Args:
        prediction: of n films.
        detecting: how detections are taken; its threshold is not asked, since a film
            of the dead zone would have none.
        most: boxes a film; those below CANDIDATE_SHARE of the best, and those that
            are LARGEST, are left out.
    """
    detecting = dataclasses.replace(detecting, threshold=0.0, max_detections=most)
    found = []
    each = model_maps.boxes(prediction, detecting) if most else []
    for rows, values in zip(each, prediction.maps, strict=bool(most)):
        best = rows[:, 4].max(initial=0.0)
        area = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])
        side = views.MAP_STRIDE * values.shape[0]
        is_good = (rows[:, 4] > 0) & (rows[:, 4] >= CANDIDATE_SHARE * best)
        found.append(rows[is_good & (area <= LARGEST * side**2)])
    return found or [np.zeros((0, 5))] * len(prediction.maps)


def _moved(
    boxes: np.ndarray, left: int, top: int, width: int, height: int
) -> np.ndarray:
    """Boxes f64[k, 5] from px of the square to px of the picture, on the picture."""
    corners = boxes[:, :4] - [left, top, left, top]
    corners = np.clip(corners, 0, [width, height, width, height])
    is_there = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    return np.concatenate([corners, boxes[:, 4:]], axis=1)[is_there]


def _write_pictures(
    out: Path, film: Chosen, picture: np.ndarray, heat: np.ndarray
) -> None:
    """The film for whoever draws, and what the page shows."""
    path = out / annotation_files.IMAGES / annotation_files.picture_name(film.image)
    done, png = cv2.imencode(".png", picture)
    if not done:
        raise ValueError(f"OpenCV could not encode {picture.shape} as PNG")
    with atomic.replacing(path) as draft:
        draft.write_bytes(png.tobytes())
    lines = [f"{film.place}: row {film.row}, {film.reasons[0].replace('_', ' ')}"]
    drawn = overlay.draw(picture, heat, film.boxes, lines=lines)
    files.write_bytes(out / FILMS / f"{film.place:04d}.png", overlay.png(drawn))


def _page(
    facts: Facts, model: TrainedModel, chosen: Sequence[Chosen]
) -> dict[str, Any]:
    return facts._asdict() | {
        "model": f"{model.name} at step {model.step}",
        "films": [
            {
                "place": film.place,
                "row": film.row,
                "picture": f"{FILMS}/{film.place:04d}.png",
                "record": film.record,
                "sentences": film.sentences,
                "boxes": len(film.boxes),
            }
            for film in chosen
        ],
    }
