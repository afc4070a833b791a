"""A model at a checkpoint, measured on a split; maps are cached, so that metrics can be
had again without the network."""

import dataclasses
import hashlib
import io
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aals_jax.evaluation import examples, model_maps
from aals_jax.input import views
from aals_jax.input.dataset import Data, ImageTable
from aals_jax.metrics import definitions, operating, readings
from aals_jax.metrics.summary import Measured, summarise
from aals_jax.runtime import files
from aals_jax.types import Variables


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model at a checkpoint."""

    model: str  # a key of train.MODELS
    step: int  # completed updates of its stage
    variables: Variables


@dataclasses.dataclass(frozen=True)
class Assessor:
    """What measuring needs beside the model."""

    data: Data
    settings: Any  # config.evaluation
    predictor: model_maps.Predictor
    cache: Path  # folder of maps

    def measure(self, subject: Subject, split: str) -> Measured:
        """Chooses operating points on validation and measures on `split`."""
        points = operating.choose(*self.read(subject, "validation"))
        truth, reading = self.read(subject, split)
        same = "validation, which is the same set" if split == "validation" else ""
        return summarise(
            truth,
            reading,
            points=points,
            chosen_on=same or "validation",
            bootstrap=bootstrap(self.settings),
            hit=model_maps.HIT,
        )

    def read(
        self, subject: Subject, split: str
    ) -> tuple[readings.Truth, readings.Reading]:
        """The truth of a split and what the model says of it."""
        table = self.table(split)
        truth = model_maps.truth_of(table)
        valid = model_maps.film(table, side=self.data.dataset.side)
        maps = self.maps(subject, split)
        return truth, model_maps.read_maps(
            maps, truth, valid=valid, settings=self.settings
        )

    def maps(self, subject: Subject, split: str) -> np.ndarray:
        """f32[n, h, w]; computed once for these weights."""
        name = f"{split}-{subject.model}-{subject.step}-{_digest(subject.variables)}"
        path = self.cache / f"{name}.npy"
        if path.exists():
            return np.load(path)
        maps = self.predictor.maps(
            subject.variables, self.data.dataset, self.table(split)
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.save(buffer, maps)
        files.write_bytes(path, buffer.getvalue())
        return maps

    def table(self, split: str) -> ImageTable:
        return getattr(self.data, split)

    def examples(
        self, subject: Subject, split: str, measured: Measured
    ) -> list[examples.Example]:
        """Pictures for the page."""
        table, maps = self.table(split), self.maps(subject, split)
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
    """Names the weights: maps of others must never pass for theirs."""
    sha = hashlib.sha256()
    for leaf in jax.tree.leaves(variables):
        sha.update(np.ascontiguousarray(leaf).tobytes())
    return sha.hexdigest()[:12]


def bootstrap(settings: Any) -> definitions.Bootstrap:
    return definitions.Bootstrap(settings.replicates, settings.seed)
