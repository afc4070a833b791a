"""A trained model evaluated on a split; what it says is cached, so that metrics can be
had again without the network."""

import dataclasses
from pathlib import Path

import numpy as np

from aals_jax.evaluation import examples, model_maps
from aals_jax.input import views
from aals_jax.input.dataset import Data, ImageTable
from aals_jax.metrics import measurement, operating
from aals_jax.metrics.draws import Bootstrap, TruthDraws
from aals_jax.metrics.measurement import Measurement
from aals_jax.metrics.readings import Reading, Truth
from aals_jax.runtime import digest, files, hosts
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
            draws=TruthDraws(truth, self.bootstrap),
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
        path, dataset = self._cached(model, name), self.data.dataset
        if path.exists():
            outputs = np.load(path)
        else:
            outputs = self.predictor.outputs(model.variables, dataset, table)
            self._keep(path, outputs)
        return self.predictor.prediction(outputs, table.content, side=dataset.side)

    def predict_together(
        self, model: TrainedModel, table: ImageTable, name: str
    ) -> None:
        """Fills the cache for `predict_table`, of which each host computes a share."""
        path = self._cached(model, name)
        if hosts.count() == 1 or hosts.from_primary(path.exists):
            return
        outputs = self.predictor.outputs(
            model.variables, self.data.dataset, table, together=True
        )
        if hosts.is_primary():
            self._keep(path, outputs)

    def _cached(self, model: TrainedModel, name: str) -> Path:
        # the digest keeps maps of other weights from being reused
        weights = digest.of_tree(model.variables)[:12]
        return self.cache / f"{name}-{model.name}-{model.step}-{weights}.npy"

    def _keep(self, path: Path, outputs: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_npy(path, outputs)

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
