"""Losses, assignments, coding and suppression of boxes against torchvision's.

    pip install -r requirements.lock -r requirements/bench.txt
    python benchmarks/boxes_vs_torchvision.py

The same random tensors go through both, in float32 on the CPU; the largest differences
are printed, and one above 1e-5 (of values of the order of 1) ends with an error.
"""

# pyright: reportMissingImports=false

import importlib.metadata
import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
from torchvision.models.detection import _utils, fcos, retinanet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import generalized_box_iou, nms, sigmoid_focal_loss

sys.path.insert(0, str(Path(__file__).parent.parent))

from aals_jax.method import assignment, box_losses, methods
from aals_jax.models import boxes, heads
from aals_jax.types import Labelled
from configs import base

TOLERANCE = 1e-5
SIDE, FINEST, ROUNDS = 192, 4, 20
STRIDES = heads.strides_of("fcos", finest=FINEST)


def random_boxes(rng: np.random.Generator, count: int, side: float) -> np.ndarray:
    """f32[count, 4], log-uniform sizes from 4 px to the side."""
    size = np.exp(rng.uniform(np.log(4), np.log(side), (count, 2)))
    corner = rng.uniform(0, np.maximum(side - size, 1))
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


def of_torch(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(array))


def difference(ours: Any, theirs: torch.Tensor) -> float:
    return float(np.abs(np.asarray(ours) - theirs.detach().numpy()).max())


def focal_loss(rng: np.random.Generator) -> float:
    z = (6 * rng.normal(size=2_000)).astype(np.float32)
    target = (rng.random(2_000) < 0.3).astype(np.float32)
    ours = box_losses.focal(jnp.array(z), jnp.array(target), alpha=0.25, gamma=2.0)
    return difference(ours, sigmoid_focal_loss(of_torch(z), of_torch(target)))


def overlap(rng: np.random.Generator) -> float:
    a, b = (random_boxes(rng, 300, SIDE) for _ in range(2))
    ours = boxes.generalized_iou(jnp.array(a), jnp.array(b))
    theirs = generalized_box_iou(of_torch(a), of_torch(b)).diagonal()
    return difference(ours, theirs)


def smooth_l1(rng: np.random.Generator) -> float:
    d = rng.normal(size=2_000).astype(np.float32)
    theirs = torch.nn.functional.smooth_l1_loss(
        of_torch(d), torch.zeros(2_000), beta=box_losses.SMOOTH, reduction="none"
    )
    return difference(box_losses.smooth_l1(jnp.array(d)), theirs)


def coding(rng: np.random.Generator) -> float:
    """Deltas and the boxes of deltas, in anchors' sizes; torchvision's BoxCoder."""
    anchors, found = (random_boxes(rng, 500, SIDE) for _ in range(2))
    coder = _utils.BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
    theirs = coder.encode_single(of_torch(found), of_torch(anchors))
    ours = boxes.deltas(jnp.array(anchors), jnp.array(found))
    # relative: a box 48 times as wide as its anchor may be 48 anchors away
    scale = np.maximum(1.0, np.abs(np.asarray(ours)).max())
    encoded = difference(ours, theirs) / scale
    offsets = rng.normal(size=(500, 4)).astype(np.float32)
    theirs = coder.decode_single(of_torch(offsets), of_torch(anchors))
    ours = boxes.from_deltas(jnp.array(anchors), jnp.array(offsets))
    return max(encoded, difference(ours, theirs) / float(theirs.abs().max()))


def anchors_of_retinanet(_: np.random.Generator) -> float:
    """torchvision's AnchorGenerator rounds half sizes to px and puts locations at
    multiples of the stride; ours are not rounded, and half a stride further."""
    sizes = tuple(tuple(4.0 * s * size for size in heads.SCALES) for s in STRIDES)
    generator = AnchorGenerator(sizes, (heads.RATIOS,) * len(STRIDES))
    maps = [torch.zeros(1, 1, SIDE // s, SIDE // s) for s in STRIDES]
    images = ImageList(torch.zeros(1, 1, SIDE, SIDE), [(SIDE, SIDE)])
    theirs = generator(images, maps)[0].numpy()
    ours = heads.rectangles((SIDE, SIDE), finest=FINEST, scale=4.0)
    each = len(heads.SCALES) * len(heads.RATIOS)
    start, largest = 0, 0.0
    for stride, count in zip(
        STRIDES,
        heads.level_sizes((SIDE, SIDE), finest=FINEST, each=each),
        strict=True,
    ):
        rows = slice(start, start + count)
        moved = ours[rows] - stride / 2
        # x.5 is rounded to the even number: within half a px of it, and no more
        # the first location's lie about 0; a half goes to the even number in both
        first = np.tile(moved[:each], (count // each, 1))
        expected = moved - first + np.round(first)
        largest = max(largest, float(np.abs(expected - theirs[rows]).max()))
        start += count
    return largest / float(np.abs(theirs).max())


class _NoHead(torch.nn.Module):
    """Captures what a head of torchvision's would be given to learn."""

    def compute_loss(self, targets, head_outputs, anchors, matched_idxs):
        self.matched = matched_idxs
        return {}


def fcos_assignment(rng: np.random.Generator) -> float:
    """Share of locations with another box. The same squares go into both."""
    squares = heads.squares((SIDE, SIDE), finest=FINEST, scale=1.0)
    found = random_boxes(rng, 6, SIDE)
    ours = assignment.by_center(
        squares, jnp.array(found)[None], center_radius=1.5, size_limit=8.0
    )[0]
    model: Any = fcos.FCOS.__new__(fcos.FCOS)
    torch.nn.Module.__init__(model)
    model.head, model.center_sampling_radius = _NoHead(), 1.5
    targets = [{"boxes": of_torch(found), "labels": torch.ones(len(found)).long()}]
    counts = list(heads.level_sizes((SIDE, SIDE), finest=FINEST, each=1))
    model.compute_loss(targets, {}, [of_torch(squares)], counts)
    theirs = model.head.matched[0].numpy()
    assert (theirs >= 0).any(), "no location has a box"
    return float(np.mean(theirs != np.asarray(ours)))


def retinanet_assignment(rng: np.random.Generator) -> float:
    """Share of anchors with another box. The same rectangles go into both."""
    anchors = heads.rectangles((SIDE, SIDE), finest=FINEST, scale=4.0)
    found = random_boxes(rng, 6, SIDE)
    everywhere = jnp.ones((1, len(anchors)), bool)
    ours = assignment.by_overlap(anchors, jnp.array(found)[None], everywhere)[0]
    model: Any = retinanet.RetinaNet.__new__(retinanet.RetinaNet)
    torch.nn.Module.__init__(model)
    model.head = _NoHead()
    model.proposal_matcher = _utils.Matcher(0.5, 0.4, allow_low_quality_matches=True)
    targets = [{"boxes": of_torch(found), "labels": torch.ones(len(found)).long()}]
    model.compute_loss(targets, {}, [of_torch(anchors)])
    theirs = model.head.matched[0].numpy()
    assert (theirs >= 0).any() and (theirs == assignment.IGNORED).any()
    return float(np.mean(theirs != np.asarray(ours)))


def fcos_losses(rng: np.random.Generator) -> float:
    """The three parts of torchvision's FCOSHead.compute_loss added up, divided by the
    same number of positives. Its boxes are relu(offset) strides from the location, ours
    exp(offset), so it is given exp of our offsets."""
    squares = heads.squares((SIDE, SIDE), finest=FINEST, scale=1.0)
    found, count = random_boxes(rng, 6, SIDE), len(squares)
    logits, center = rng.normal(size=(2, 1, count)).astype(np.float32)
    offsets = rng.normal(size=(1, count, 4)).astype(np.float32)
    images = _labelled(found)
    settings = base.get_config("clavicle").boxes.to_dict()
    ours: Any = methods.bind("fcos", settings).labelled(
        heads.BoxOutputs(*map(jnp.array, (logits, offsets, center))), images
    )
    head = fcos.FCOSHead(32, 1, 1, 1)
    matched = assignment.by_center(
        squares, jnp.array(found)[None], center_radius=1.5, size_limit=8.0
    )
    parts = head.compute_loss(
        [{"boxes": of_torch(found), "labels": torch.zeros(len(found)).long()}],
        {
            "cls_logits": of_torch(logits)[..., None],
            "bbox_regression": of_torch(np.exp(offsets)),
            "bbox_ctrness": of_torch(center)[..., None],
        },
        [of_torch(squares)],
        [of_torch(matched[0]).long()],
    )
    theirs = float(sum(parts.values()))
    mean = float(ours.total[0] / ours.count[0])
    return abs(mean - theirs) / theirs


def retinanet_losses(rng: np.random.Generator) -> float:
    """torchvision's RetinaNetHead.compute_loss, with smooth L1 in place of its L1."""
    anchors = heads.rectangles((SIDE, SIDE), finest=FINEST, scale=4.0)
    found, count = random_boxes(rng, 6, SIDE), len(anchors)
    logits = rng.normal(size=(1, count)).astype(np.float32)
    offsets = rng.normal(size=(1, count, 4)).astype(np.float32)
    settings = base.get_config("clavicle").boxes.to_dict()
    ours: Any = methods.bind("retinanet", settings).labelled(
        heads.BoxOutputs(jnp.array(logits), jnp.array(offsets), None), _labelled(found)
    )
    head = retinanet.RetinaNetHead(8, 1, 1)
    head.regression_head._loss_type = "smooth_l1"
    # the head has no way to set the width of the square, whose default is 1
    retinanet._box_loss = partial(_utils._box_loss, cnf={"beta": box_losses.SMOOTH})
    everywhere = jnp.ones((1, count), bool)
    matched = assignment.by_overlap(anchors, jnp.array(found)[None], everywhere)
    parts = head.compute_loss(
        [{"boxes": of_torch(found), "labels": torch.zeros(len(found)).long()}],
        {
            "cls_logits": of_torch(logits)[..., None],
            "bbox_regression": of_torch(offsets),
        },
        [of_torch(anchors)],
        [of_torch(matched[0]).long()],
    )
    theirs = float(sum(parts.values()))
    mean = float(ours.total[0] / ours.count[0])
    return abs(mean - theirs) / theirs


def _labelled(found: np.ndarray) -> Labelled:
    pixels = (1, SIDE // 4, SIDE // 4)
    return Labelled(
        image=jnp.zeros((1, SIDE, SIDE, 1)),
        target=jnp.zeros(pixels),
        valid=jnp.ones(pixels),
        label=jnp.ones(1),
        boxes=jnp.array(found)[None],
        keep=None,
    )


def suppression(rng: np.random.Generator) -> float:
    """The largest difference of what is kept, in its order."""
    found, scores = random_boxes(rng, 400, SIDE), rng.random(400, np.float32)
    kept = nms(of_torch(found), of_torch(scores), 0.5).numpy()
    ours = boxes.suppress(
        jnp.array(found)[None], jnp.array(scores)[None], iou_threshold=0.5, most=400
    )[0]
    theirs = np.zeros((400, 5), np.float32)
    theirs[: len(kept)] = np.column_stack([found[kept], scores[kept]])
    return float(np.abs(np.asarray(ours) - theirs).max())


CHECKS = {
    "focal loss": focal_loss,
    "generalised IoU": overlap,
    "smooth L1": smooth_l1,
    "deltas and back (relative)": coding,
    "RetinaNet's anchors (relative)": anchors_of_retinanet,
    "FCOS: locations with another box": fcos_assignment,
    "RetinaNet: anchors with another box": retinanet_assignment,
    "FCOS: sum of its losses (relative)": fcos_losses,
    "RetinaNet: sum of its losses (relative)": retinanet_losses,
    "boxes kept by suppression": suppression,
}


def main() -> None:
    rng = np.random.default_rng(0)
    version = importlib.metadata.version("torchvision")
    print(f"largest difference from torchvision {version} in {ROUNDS} rounds")
    largest = {
        name: max(check(rng) for _ in range(ROUNDS)) for name, check in CHECKS.items()
    }
    for name, value in largest.items():
        print(f"  {name:42s} {value:.1e}")
    failed = [n for n, v in largest.items() if not v <= TOLERANCE or math.isnan(v)]
    if failed:
        raise SystemExit(f"above {TOLERANCE}: {', '.join(failed)}")


if __name__ == "__main__":
    main()
