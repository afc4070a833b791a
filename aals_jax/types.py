"""The records that pass between packages, and the names of stages and models.

Records hold arrays alone, and every field is required; None says that the run has no
use for it. Stream names follow the method:
R are positives with boxes ("region"), P are positives by their medical record without
boxes ("image_level"), N are negatives ("negative"). B is the number of images.
"""

from collections.abc import Mapping
from typing import Any

import jax
import optax
from flax import struct

# {"params": ..., "batch_stats": ...}, float32 leaves; of a whole net with a frozen
# encoder "frozen" too, which no state holds
Variables = Mapping[str, Any]
Metrics = dict[str, jax.Array]  # name -> f32[]

STAGES = ("pretrain", "distill")
NETWORKS = ("student", "teacher")  # fields of a state, both validated in each stage
# Stage -> the network whose validation AUROC chooses the checkpoint.
SELECTED_BY = {"pretrain": "student", "distill": "teacher"}
# A model that is evaluated -> its stage, and its network there.
MODELS: Mapping[str, tuple[str, str]] = {
    "pretrained": ("pretrain", "student"),
    "pretrained_average": ("pretrain", "teacher"),
    "student": ("distill", "student"),
    "teacher": ("distill", "teacher"),
}
SHOWN = "teacher"  # the model whose pictures the report shows
STAGE_1 = "pretrained"  # the model of stage 1 alone


@struct.dataclass
class TrainState:
    """What a checkpoint holds of a stage."""

    step: jax.Array  # i32[], completed updates; the clock of schedules and of the data
    student: Variables
    teacher: Variables  # moving average of student, same tree, its own buffers
    opt_state: optax.OptState


@struct.dataclass
class MemoryState(TrainState):
    """The state of a method that keeps more than the student and its average."""

    memory: Any  # as the method's guide makes it; see GUIDES in method/methods.py


@struct.dataclass
class Labelled:
    """Images of R and N, whose target is known at every pixel."""

    image: jax.Array  # f32[B, H, W, 1], 0 = air, 1 = bone
    target: jax.Array  # f32[B, H/4, W/4], 1 inside a box, 0 outside
    valid: jax.Array  # f32[B, H/4, W/4], 1 on film, 0 on padding
    label: jax.Array  # f32[B], 1 in R, 0 in N: what the record says
    # f32[B, K, 4], (x0, y0, x1, y1) in px of the image, zeros where there are fewer
    # than K; None where no box is predicted
    boxes: jax.Array | None
    keep: jax.Array | None  # f32[B, C], dropout's factors of the net's last channels


@struct.dataclass
class Weak:
    """Images of P: known to be positive, place unknown. Two views, one geometry."""

    image: jax.Array  # f32[B, H, W, 1], the teacher's view, 0 = air, 1 = bone
    student_image: jax.Array  # f32[B, H, W, 1], same geometry, stronger photometry
    valid: jax.Array  # f32[B, H/4, W/4], 1 on film, 0 on padding
    row: jax.Array  # i32[B], the image's number within P, from 0
    lesions: jax.Array  # i32[B], how many the record names; -1 where it doesn't say
    to_view: jax.Array  # f32[B, 2, 3], un-augmented (x, y, 1) -> view, shares of side
    # dropout's factors as in Labelled, f32[B, 2, C]: of the student's view, and of the
    # other one where the student itself looks at it
    keep: jax.Array | None
    withheld: "Withheld | None"  # for the oracle alone: no other method may know it


@struct.dataclass
class Withheld:
    """The boxes that P withholds, where the data have them."""

    target: jax.Array  # f32[B, H/4, W/4], 1 inside a box, 0 outside
    boxed: jax.Array  # f32[B], 1 where the image has a box at all, in view or not


@struct.dataclass
class Batch:
    """What one step learns from: a device's or a host's share, or the whole."""

    labelled: Labelled
    weak: Weak | None  # None in the supervised stage: P is never even read there
