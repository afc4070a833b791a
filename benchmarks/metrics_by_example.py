"""One small set through four libraries, and what each makes of cases counted by hand.

    python benchmarks/metrics_by_example.py

The peers are no requirements of the project; where one is missing, its column is empty:
    pip install -r requirements/bench.txt

The numbers stand in docs/metrics.md; benchmarks/froc_vs_peers.py has more cases of
MONAI and picai_eval, and speed.
"""

import contextlib
import importlib
import importlib.metadata
import io
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from aals_jax import metrics

SIDE = 40  # pixels of a film
LESIONS = [[(5, 5, 15, 15)], [], [], [(5, 5, 15, 15)]]  # x0, y0, x1, y1 of each film
FOUND = [  # the same and a score; the last one is a second hit on its lesion
    [(5, 5, 15, 15, 0.9)],
    [(20, 20, 30, 30, 0.6)],
    [],
    [(5, 5, 15, 14, 0.5), (6, 6, 16, 16, 0.4)],
]
LABELS = np.array([1, 0, 0, 1])
SCORES = np.array([max((row[-1] for row in rows), default=0.0) for rows in FOUND])
RATES = (0.2, 0.25, 1.0)  # false positives an image

Boxes = Sequence[Sequence[tuple[float, ...]]]


def peer(module: str) -> Any:
    """A module of a peer; None where it is missing."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # they greet at import
            return importlib.import_module(module)
    except ImportError:
        return None


MONAI = peer("monai.metrics")
MONAI_FROC = peer("monai.metrics.froc")
PICAI = peer("picai_eval")
COCO = peer("pycocotools.coco")
COCO_EVAL = peer("pycocotools.cocoeval")


def versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for name in ("numpy", "scipy", "monai", "torch", "picai_eval", "pycocotools"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found)


# --- the small set, by each


def by_ours() -> dict[str, float]:
    data = metrics.count_data(
        [np.array(rows).reshape(-1, 5) for rows in FOUND],
        [np.array(rows).reshape(-1, 4) for rows in LESIONS],
    )
    return {
        "AUROC of the films": float(metrics.auroc(SCORES, LABELS)),
        "AP of the films": float(metrics.average_precision(SCORES, LABELS)),
        **{
            f"lesions found at {rate:g} false positives an image": float(value)
            for rate, value in zip(
                RATES, metrics.sensitivity_at(data, RATES), strict=True
            )
        },
    }


def by_monai() -> dict[str, float]:
    import torch  # pyright: ignore[reportMissingImports]

    found: dict[str, float] = {}
    scores, labels = torch.tensor(SCORES), torch.tensor(LABELS)
    found["AUROC of the films"] = float(MONAI.compute_roc_auc(scores, labels))
    false, hit, lesions = [], [], 0
    for rows, boxes in zip(FOUND, LESIONS, strict=True):
        centers = [((y0 + y1) // 2, (x0 + x1) // 2) for x0, y0, x1, y1, _ in rows]
        false_here, hit_here, number = MONAI_FROC.compute_fp_tp_probs_nd(
            np.array([row[-1] for row in rows]),
            np.array(centers, int).reshape(-1, 2),
            painted(boxes),
        )
        false += list(false_here)
        hit += list(hit_here)
        lesions += number
    curve = MONAI_FROC.compute_froc_curve_data(
        np.array(false), np.array(hit), lesions, len(FOUND)
    )
    for rate in RATES:
        found[f"lesions found at {rate:g} false positives an image"] = float(
            MONAI_FROC.compute_froc_score(*curve, eval_thresholds=(rate,))
        )
    return found


def by_picai() -> dict[str, float]:
    """A map holds no two detections that touch, so the second hit is left out."""
    maps = [painted(rows[:1]) for rows in FOUND]
    with contextlib.redirect_stdout(io.StringIO()):
        result = PICAI.evaluate(
            y_det=[each[None] for each in maps],
            y_true=[(painted(boxes) > 0).astype(int)[None] for boxes in LESIONS],
            num_parallel_calls=1,
            verbose=0,
        )
    return {
        "AUROC of the films": float(result.auroc),
        "AP of the detections": float(result.AP),
        **{
            f"lesions found at {rate:g} false positives an image": float(
                result.lesion_TPR_at_FPR(rate)
            )
            for rate in RATES
        },
    }


def by_coco() -> dict[str, float]:
    value = coco_ap(FOUND, LESIONS)
    return {"AP of the detections": value}


def painted(boxes: Sequence[tuple[float, ...]]) -> np.ndarray:
    """f64[SIDE, SIDE]: boxes by their score, or lesions numbered from 1."""
    film = np.zeros((SIDE, SIDE))
    for number, (x0, y0, x1, y1, *score) in enumerate(boxes, start=1):
        film[int(y0) : int(y1), int(x0) : int(x1)] = score[0] if score else number
    return film if boxes and len(boxes[0]) == 5 else film.astype(int)


def coco_ap(found: Boxes, lesions: Boxes) -> float:
    """COCO's AP at IoU 0.5, all sizes, 100 detections an image."""
    quiet = contextlib.redirect_stdout(io.StringIO())
    with quiet:
        truth = COCO.COCO()
        truth.dataset = {
            "info": {},
            "images": [
                {"id": i, "width": SIDE, "height": SIDE}
                for i in range(1, len(lesions) + 1)
            ],
            "categories": [{"id": 1, "name": "lesion"}],
            "annotations": [
                {
                    "id": number,
                    "image_id": image,
                    "category_id": 1,
                    "iscrowd": 0,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                }
                for number, (image, (x0, y0, x1, y1)) in enumerate(
                    (
                        (image, box)
                        for image, boxes in enumerate(lesions, start=1)
                        for box in boxes
                    ),
                    start=1,
                )
            ],
        }
        truth.createIndex()
        results = [
            {
                "image_id": image,
                "category_id": 1,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "score": score,
            }
            for image, rows in enumerate(found, start=1)
            for x0, y0, x1, y1, score in rows
        ]
        judged = COCO_EVAL.COCOeval(truth, truth.loadRes(results), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return float(judged.stats[1])


# --- cases of COCO's, counted by hand


def coco_cases() -> list[tuple[str, str, float]]:
    """(case, by hand, COCO's)."""
    hit, false = (5, 5, 15, 15, 0.5), (20, 20, 30, 30, 0.5)
    lesion = (5, 5, 15, 15)
    others = [(20 * k, 100, 20 * k + 10, 110) for k in range(1, 4)]
    three = [(*box, score) for box, score in zip(others, (0.9, 0.7), strict=False)]
    return [
        (
            "a hit and a false positive tie, the hit's image is first",
            "0.5",
            coco_ap([[hit], [false]], [[lesion], []]),
        ),
        (
            "the same with the images in the other order",
            "0.5",
            coco_ap([[false], [hit]], [[], [lesion]]),
        ),
        ("a false positive and no lesion", "no value", coco_ap([[false]], [[]])),
        (
            "3 lesions; hit at 0.9, false at 0.8, hit at 0.7, one missed",
            "0.5556 (5 / 9) as a step sum",
            coco_ap([[three[0], (200, 5, 210, 15, 0.8), three[1]]], [others]),
        ),
        (
            "one lesion hit twice, then one more lesion hit",
            "1 where a second hit counts for nothing",
            coco_ap(
                [[(*others[0], 0.9), (*others[0], 0.8), (*others[1], 0.7)]],
                [others[:2]],
            ),
        ),
    ]


def main() -> None:
    print(versions())
    found = {"ours": by_ours()}
    for name, module, by in (
        ("MONAI", MONAI_FROC, by_monai),
        ("picai_eval", PICAI, by_picai),
        ("pycocotools", COCO_EVAL, by_coco),
    ):
        if module:
            found[name] = by()
        else:
            print(f"{name} is not installed: pip install -r requirements/bench.txt")
    print(f"\n| what | {' | '.join(found)} |\n|---{'|---' * len(found)}|")
    for what in dict.fromkeys(what for values in found.values() for what in values):
        cells = [f"{v[what]:.4g}" if what in v else "" for v in found.values()]
        print(f"| {what} | {' | '.join(cells)} |")
    if COCO_EVAL:
        print("\n| case | by hand | COCO's AP at IoU 0.5 |\n|---|---|---|")
        for name, right, theirs in coco_cases():
            print(f"| {name} | {right} | {theirs:.4g} |")


if __name__ == "__main__":
    main()
