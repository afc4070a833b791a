"""A trained model evaluated on a split; what it says is cached, so that metrics can be
had again without the network."""

import dataclasses
import hashlib
from pathlib import Path

import jax
import numpy as np

from aals_jax.evaluation import examples, model_maps
from aals_jax.input import views
from aals_jax.input.dataset import Data, ImageTable
from aals_jax.metrics import measurement, operating
from aals_jax.metrics.draws import Bootstrap
from aals_jax.metrics.measurement import Measurement
from aals_jax.metrics.readings import Reading, Truth
from aals_jax.runtime import files
from aals_jax.types import Variables


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A model at a checkpoint."""

    name: str  # a key of types.MODELS
    step: int  # completed updates of its stage
    variables: Variables


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluator:
    """What evaluating needs beside the model."""

    data: Data
    predictor: model_maps.Predictor
    detecting: model_maps.Detecting
    bootstrap: Bootstrap
    cache: Path  # folder of maps or boxes

    def evaluate(self, model: TrainedModel, split: str) -> Measurement:
        """Chooses operating points on validation and measures on `split`."""
        points = operating.choose(*self.read(model, "validation"))
        truth, reading = self.read(model, split)
        same = "validation, which is the same set" if split == "validation" else ""
        return measurement.measure(
            truth,
            reading,
            points=points,
            chosen_on=same or "validation",
            bootstrap=self.bootstrap,
            hit=model_maps.HIT,
        )

    def read(self, model: TrainedModel, split: str) -> tuple[Truth, Reading]:
        """The truth of a split and what the model says of it."""
        truth = model_maps.truth_of(self.table(split))
        return truth, model_maps.read_prediction(
            self.predict(model, split), truth, detecting=self.detecting
        )

    def predict(self, model: TrainedModel, split: str) -> model_maps.Prediction:
        """What the model says of a split; computed once for these weights."""
        return self.predict_table(model, self.table(split), split)

    def predict_table(
        self, model: TrainedModel, table: ImageTable, name: str
    ) -> model_maps.Prediction:
        """`predict` of a table that is no whole split; `name` tells it from others."""
        name = f"{name}-{model.name}-{model.step}-{_digest(model.variables)}"
        path, dataset = self.cache / f"{name}.npy", self.data.dataset
        if path.exists():
            outputs = np.load(path)
        else:
            outputs = self.predictor.outputs(model.variables, dataset, table)
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_npy(path, outputs)
        return self.predictor.prediction(outputs, table, side=dataset.side)

    def table(self, split: str) -> ImageTable:
        """The images of "train", "validation" or "test"."""
        return getattr(self.data, split)

    def examples(
        self, model: TrainedModel, split: str, measured: Measurement
    ) -> list[examples.Example]:
        """Pictures for the page."""
        table, maps = self.table(split), self.predict(model, split).maps
        stride = views.MAP_STRIDE * np.eye(2, 3)

        def film_of(i: int) -> examples.Film:
            image = self.data.dataset.read(table.split[i], table.position[i]).image
            if image.dtype != np.uint8:
                image = (image >> 8).astype(np.uint8)
            return examples.Film(image, maps[i], stride)

        return examples.choose_examples(
            measured.truth, measured.reading, film_of, hit=model_maps.HIT
        )


def _digest(variables: Variables) -> str:
    """Digest of the weights; keeps cached maps of other weights from being reused."""
    sha = hashlib.sha256()
    for leaf in jax.tree.leaves(variables):
        sha.update(np.ascontiguousarray(leaf).tobytes())
    return sha.hexdigest()[:12]
