"""The two stages of a run: model, optimiser, step, first state and batches of each."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from aals_jax import types
from aals_jax.input import views
from aals_jax.method import ensemble, methods, optim, steps
from aals_jax.method.methods import METHODS
from aals_jax.models import heads
from aals_jax.models.densenet import Classifier
from aals_jax.models.detector import Detector
from aals_jax.models.parts import Frozen
from aals_jax.runs import frozen_encoder, identity, pretrained
from aals_jax.runtime import devices
from aals_jax.types import TrainState, Variables

# config.distill.start -> the network of stage 1's state; its checkpoint is the one that
# the student's validation AUROC chose, for either
STARTS: Mapping[str, str] = {"student": "student", "average": "teacher"}
# config.distill.teacher_view -> whether that view has photometry of its own
TEACHER_VIEWS: Mapping[str, bool] = {"plain": False, "photometry": True}


@dataclasses.dataclass(frozen=True)
class Stage:
    """What differs between the two stages."""

    name: str  # one of types.STAGES
    config: Any  # its section of the config: config.pretrain or config.distill
    step: steps.Step  # for one device; not compiled yet
    initial: TrainState  # on the host
    counts: Mapping[str, int]  # stream -> images per batch, over all devices
    extras: views.Extras  # what its examples have that others have not
    has_boxes: bool  # whether the views of R carry their boxes
    frozen: Variables  # of an encoder that never learns, on the host; mostly {}
    # what a run found out before the stage, in every row of its history
    found: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def number(self) -> int:
        """1 or 2; the stage's own part of the seed of its batches."""
        return types.STAGES.index(self.name) + 1

    @property
    def constants(self) -> tuple[Variables, ...]:
        """What a step gets beside a state and a batch."""
        return (self.frozen,) if self.frozen else ()

    def whole(self, variables: Variables) -> Variables:
        """The variables of a net, from those of them that a state holds."""
        return {**variables, **self.frozen}

    @property
    def selected_by(self) -> str:
        """The network whose validation AUROC chooses the checkpoint."""
        return types.SELECTED_BY[self.name]


def make_model(config: Any, *, axis_name: str | None) -> Detector | Classifier:
    """The net of a config; `axis_name` of the devices that share BatchNorm."""
    method = METHODS[config.method]
    # those of both kinds
    options: dict[str, Any] = {
        "stem_channels": config.model.stem_channels,
        "imagenet": pretrained.is_start(config),
        "dtype": jnp.dtype(config.model.dtype),
        "axis_name": axis_name,
        "frozen": _frozen(config),
        "remat": config.model.get("remat", False),  # as in _frozen
    }
    if method.classifier:
        return Classifier(backbone=config.model.densenet, **options)
    # not read for a map, so that runs from before there were boxes can be evaluated
    of_boxes = (
        {"finest_stride": config.boxes.finest_stride, "convs": config.boxes.convs}
        if _has_boxes(config)
        else {}
    )
    return Detector(
        backbone=config.model.backbone,
        width=config.model.width,
        fpn_channels=config.model.fpn_channels,
        prior=method.prior,
        cell=config.distill.cell if method.cells else 1,
        head=method.head,
        vit=frozen_encoder.architecture(config),
        **of_boxes,
        **options,
    )


def _frozen(config: Any) -> Frozen:
    # get: a run from before there were these fields can be evaluated
    return Frozen(
        stages=config.model.get("frozen_stages", 0),
        norm=config.model.get("frozen_norm", False),
    )


def make_detect(config: Any) -> Callable[..., jax.Array] | None:
    """What makes detections of a net's boxes, see `heads.detect`; None: it has none."""
    if not _has_boxes(config):
        return None
    return partial(
        heads.detect,
        head=METHODS[config.method].head,
        finest_stride=config.boxes.finest_stride,
        anchor_scale=config.boxes.anchor_scale,
        top_k=config.boxes.top_k,
        nms_iou=config.boxes.nms_iou,
        max_detections=config.evaluation.max_detections,
    )


def pooling_of(config: Any) -> str:
    """From a map to an image's score, in validation and testing: the method's own way,
    else the config's."""
    return METHODS[config.method].pooling or config.evaluation.pooling


def make_tx(
    stage_config: Any, *, frozen_stages: int = 0
) -> optax.GradientTransformation:
    """The optimiser and the learning rates of a stage.

    Args:
      stage_config: config.pretrain or config.distill.
      frozen_stages: of the backbone, config.model.frozen_stages.

    Raises:
      ValueError: an optimiser or schedule of another name.
    """
    return optim.make_optimizer(
        stage_config.optimizer,
        optim.learning_rate(
            stage_config.schedule,
            peak=stage_config.learning_rate,
            warmup_steps=stage_config.warmup_steps,
            steps=stage_config.steps,
        ),
        weight_decay=stage_config.weight_decay,
        clip_norm=stage_config.clip_norm,
        part_rates=optim.PartRates(
            backbone=stage_config.backbone_rate,
            layer_decay=stage_config.layer_decay,
            head_steps=stage_config.head_steps,
            frozen_stages=frozen_stages,
        ),
    )


def _tx(config: Any, stage: str) -> optax.GradientTransformation:
    return make_tx(config[stage], frozen_stages=config.model.frozen_stages)


def initial_state(config: Any, side: int) -> TrainState:
    """Random weights of the config's seed, for images of `side` x `side` px; those of
    the backbone from `model.pretrained`, where there is such a file.

    Raises:
      ValueError: the file does not fit.
    """
    model = make_model(config, axis_name=None)
    tx = _tx(config, "pretrain")
    state = steps.init_state(model, tx, jax.random.key(config.seed), side=side)
    if not pretrained.is_start(config):
        return state
    if identity.is_frozen(config):
        pretrained.tell(config, frozen_encoder.report(config))
        return state
    return steps.restart(pretrained.start(config, state.student), tx)


def check_start(config: Any) -> None:
    """Raises ValueError where the file of `model.pretrained` does not fit the net.

    It is read, and no net is made: data that take hours to build come after it.
    """
    if not pretrained.is_start(config):
        return
    if identity.is_frozen(config):
        frozen_encoder.report(config)
        return
    model = make_model(config, axis_name=None)
    image = jax.ShapeDtypeStruct((1, *[config.data.side] * 2, 1), jnp.float32)
    init = partial(model.init, train=False)
    pretrained.placed(config, jax.eval_shape(init, jax.random.key(0), image))


def make_pretrain(config: Any, *, axis_name: str | None) -> steps.Step:
    """The supervised step on R and N, with the optimiser of stage 1."""
    return steps.make_pretrain_step(
        make_model(config, axis_name=axis_name),
        _tx(config, "pretrain"),
        ema_decay=config.ema_decay,
        axis_name=axis_name,
        accumulate=config.batch.accumulate,
    )


def make_distill(
    config: Any,
    *,
    axis_name: str | None,
    stage: str = "distill",
    center: float | None = None,
) -> steps.Step:
    """The method's step on R, N and P, with the optimiser of `stage`.

    `center`: t in (0, 1); None: the config's.
    """
    settings = config.distill.to_dict() | config.boxes.to_dict()
    settings |= {} if center is None else {"center": center}
    return steps.make_distill_step(
        methods.bind(config.method, settings),
        make_model(config, axis_name=axis_name),
        _tx(config, stage),
        center=settings["center"],
        distill_weight=config.distill.weight,
        ramp_steps=ramp_steps(config),
        ema_decay=config.ema_decay,
        axis_name=axis_name,
        image_weights=config.distill.balance == "image",
        accumulate=config.batch.accumulate,
    )


def start_of(config: Any) -> str:
    """The model that stage 2 starts from, a key of types.MODELS."""
    field = STARTS[config.distill.start]
    return next(
        name for name, place in types.MODELS.items() if place == ("pretrain", field)
    )


def ramp_steps(config: Any) -> int:
    """Number of steps in which the weight of the loss on P rises; 0: full at once.

    As the config sets it, else a share of the stage for a method that ramps.
    """
    share = max(1, round(config.distill.ramp_share * config.distill.steps))
    ramps = METHODS[config.method].ramps
    return config.distill.ramp_steps or (share if ramps else 0)


def pretrain_stage(config: Any, side: int) -> Stage:
    """Stage 1: dense cross-entropy on R and N.

    A method that needs no teacher trains with its own losses already here.
    """
    method = METHODS[config.method]
    from_start = method.from_start
    make = partial(make_distill, stage="pretrain") if from_start else make_pretrain
    return Stage(
        name="pretrain",
        config=config.pretrain,
        step=make(config, axis_name=devices.AXIS),
        initial=initial_state(config, side),
        counts=_counts(config, uses_p=from_start and method.weak is not None),
        extras=_extras(config),
        has_boxes=_has_boxes(config),
        frozen=frozen_encoder.variables(config),
    )


def distill_stage(
    config: Any,
    pretrained: TrainState,
    *,
    images: int,
    side: int,
    center: float | None = None,
) -> Stage:
    """Stage 2 from stage 1's best checkpoint: the method's loss on P joins in.

    Args:
      config: of the run; `distill.start` says which of its networks begins.
      pretrained: the state of that checkpoint.
      images: number of images of P, for methods that keep something of each.
      side: of the square images, px.
      center: t in (0, 1), where `center.decide` found one; None: the config's.
    """
    method = METHODS[config.method]
    student = getattr(pretrained, STARTS[config.distill.start])
    map_side = side // views.MAP_STRIDE
    memory = methods.initial_memory(
        config.method,
        student,
        images=images,
        side=ensemble.memory_side(map_side, limit=config.distill.ensemble_side),
    )
    return Stage(
        name="distill",
        config=config.distill,
        step=make_distill(config, axis_name=devices.AXIS, center=center),
        initial=steps.restart(student, _tx(config, "distill"), memory=memory),
        counts=_counts(config, uses_p=method.weak is not None),
        extras=_extras(
            config,
            jitter_teacher=TEACHER_VIEWS.get(
                config.distill.teacher_view, method.jitter_teacher
            ),
            withheld=method.withheld,
        ),
        has_boxes=_has_boxes(config),
        frozen=frozen_encoder.variables(config),
        found={} if center is None else {"pseudo/center": center},
    )


def _has_boxes(config: Any) -> bool:
    return heads.HEADS[METHODS[config.method].head].anchors is not None


def _extras(config: Any, **options: bool) -> views.Extras:
    rate = config.model.dropout
    channels = make_model(config, axis_name=None).dropout_channels if rate else 0
    return views.Extras(dropout=rate, channels=channels, **options)


def _counts(config: Any, *, uses_p: bool) -> dict[str, int]:
    names = ("region", "negative", *(["image_level"] if uses_p else []))
    return {name: config.batch[name] for name in names}
