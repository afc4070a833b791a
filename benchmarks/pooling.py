"""Which pooling of a map lets the image's label alone teach it: docs/methods.md.

    python benchmarks/pooling.py

Halves of the easy phantom's films, each about one clavicle, 96 x 96 px: a tenth of a
run's work. The phantom is drawn on the first call (some two minutes on two cores); each
row then takes about 20 s of CPU time. `--rows 3` stops after three.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aals_jax.input import prepare
from aals_jax.input.dataset import Dataset, ImageTable
from aals_jax.method import losses, optim
from aals_jax.metrics import roc
from aals_jax.models.densenet import Classifier
from aals_jax.models.detector import Detector
from aals_jax.runs import data_options
from configs import clavicle

TOP, SIDE = 16, 96  # px of the square; all clavicles lie in these rows
EACH = 6  # images of a batch that are positive, and as many that are not
JUDGED = 400  # halves of validation
# pooled, r, where it begins, standard deviation of the head's initial kernel
ROWS = (
    ("pixels", 10.0, 0.01, 0.01),
    ("pixels", 10.0, 0.5, 0.01),
    ("pixels", 10.0, 0.5, 0.25),
    ("pixels", 2.0, 0.5, 0.25),
    ("cells", 10.0, 0.5, 0.25),
    ("cells", 5.0, 0.01, 0.01),
    ("cells", 5.0, 0.5, 0.01),
    ("cells", 5.0, 0.5, 0.25),
    ("cells", 2.0, 0.5, 0.25),
    ("chexnet", 0.0, 0.5, 0.01),
)


def halves(dataset: Dataset, table: ImageTable) -> tuple[np.ndarray, np.ndarray]:
    """Both halves of each film, the right one mirrored: u8[n, 96, 96], bool[n].

    A half is positive if it has a box; positive films without a box are left out.
    """
    images, labels = [], []
    for i in np.flatnonzero((table.label == 0) | table.boxed):
        image = dataset.read(table.split[i], table.position[i]).image
        boxes = table.boxes[i] if table.label[i] else table.boxes[i][:0]
        is_left = (boxes[:, 0] + boxes[:, 2]) / 2 < image.shape[1] / 2
        rows = image[TOP : TOP + SIDE]
        for half, inside in ((rows, is_left), (rows[:, ::-1], ~is_left)):
            images.append(half[:, :SIDE])
            labels.append(inside.any())
    return np.stack(images), np.array(labels)


def batch_of(
    images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """f32[2 EACH, 96, 96, 1], f32[2 EACH]: shifted by some px, brighter or darker."""
    rows = np.concatenate(
        [rng.choice(np.flatnonzero(labels == kind), EACH) for kind in (True, False)]
    )
    picked = np.roll(images[rows] / np.float32(255), rng.integers(-4, 5, 2), (1, 2))
    shape = (len(rows), 1, 1)
    picked = picked * rng.uniform(0.8, 1.2, shape) + rng.uniform(-0.1, 0.1, shape)
    return picked[..., None].astype(np.float32), labels[rows].astype(np.float32)


def pooling(kind: str, sharpness: float) -> Callable[[jax.Array], jax.Array]:
    """f32[B, h, w] logits -> f32[B]; all pixels are film."""
    if kind == "chexnet":
        return lambda logits: logits.mean(axis=(1, 2))
    return lambda logits: losses.pooled_logit(
        logits, jnp.ones_like(logits), sharpness=sharpness
    )


def trained(
    kind: str,
    sharpness: float,
    prior: float,
    spread: float,
    *,
    train: tuple[np.ndarray, np.ndarray],
    judged: np.ndarray,
    steps: int,
) -> np.ndarray:
    """The pooled logits of the judged images, f32[n], after training."""
    net: Any = Classifier("narrow")
    if kind != "chexnet":
        net = Detector("narrow", 16, 16, prior=prior, cell=4 if kind == "cells" else 1)
    pool = pooling(kind, sharpness)
    image = jnp.zeros((1, SIDE, SIDE, 1))
    variables = jax.jit(partial(net.init, train=False))(jax.random.key(0), image)
    kernel = variables["params"]["head"]["kernel"]
    variables["params"]["head"]["kernel"] = kernel * spread / 0.01
    rate = optim.learning_rate("cosine", peak=3e-3, warmup_steps=50, steps=steps)
    tx = optim.make_optimizer("adam", rate, weight_decay=1e-4, clip_norm=0.0)

    def loss_fn(params, variables, image, label):
        logits, stats = net.apply(
            {**variables, "params": params}, image, train=True, mutable=["batch_stats"]
        )
        loss = optax.sigmoid_binary_cross_entropy(pool(logits), label)
        return loss.mean(), stats

    @jax.jit
    def step(variables, opt_state, image, label):
        gradients, stats = jax.grad(loss_fn, has_aux=True)(
            variables["params"], variables, image, label
        )
        updates, opt_state = tx.update(gradients, opt_state, variables["params"])
        params = optax.apply_updates(variables["params"], updates)
        return {"params": params, **stats}, opt_state

    opt_state, rng = tx.init(variables["params"]), np.random.default_rng(0)
    for _ in range(steps):
        variables, opt_state = step(variables, opt_state, *batch_of(*train, rng))
    score = jax.jit(lambda v, x: pool(net.apply(v, x, train=False)))
    parts = np.array_split(judged[..., None] / np.float32(255), len(judged) // 40)
    return np.concatenate([score(variables, part) for part in parts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=len(ROWS))
    parser.add_argument("--steps", type=int, default=360)
    parser.add_argument("--data_dir", default="runs/datasets")
    arguments = parser.parse_args()
    config = clavicle.get_config()
    config.phantom.difficulty = "easy"
    config.data.dir = arguments.data_dir
    data = prepare.open_data(data_options.of(config))
    train = halves(data.dataset, data.train)
    judged, labels = (x[:JUDGED] for x in halves(data.dataset, data.validation))
    print(f"{len(train[1])} halves train, {train[1].sum()} of them positive")
    print("| pooled | r | begins at | head's spread | AUROC |\n|---|---|---|---|---|")
    for row in ROWS[: arguments.rows]:
        scores = trained(*row, train=train, judged=judged, steps=arguments.steps)
        cells = " | ".join(map(str, row))
        print(f"| {cells} | {roc.auroc(scores, labels):.3f} |", flush=True)


if __name__ == "__main__":
    main()
