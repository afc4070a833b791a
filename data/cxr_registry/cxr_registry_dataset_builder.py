"""The TFDS builder: features and splits; what fills them comes from `build`."""

import dataclasses
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

Examples = Callable[[str], Iterator[tuple[str, dict[str, Any]]]]


@dataclasses.dataclass
class CxrRegistryConfig(tfds.core.BuilderConfig):
    """What the features depend on. Holds no path and no key: TFDS writes it out."""

    findings: tuple[str, ...] = ("rib", "clavicle")
    side: int = 512  # pixels
    bits: int = 8  # a pixel, 8 or 16
    splits: tuple[str, ...] = ()


class Builder(tfds.core.GeneratorBasedBuilder):
    """Chest radiographs of one registry, in patient-disjoint parts."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}  # noqa: RUF012 (TFDS reads it so)

    def __init__(self, *, examples: Examples | None = None, **kwargs: Any):
        """
        Args:
            examples: split's name -> its (key, example) pairs, as `encode` makes them.
            **kwargs: of the TFDS builder.
        """
        self._examples = examples
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        config: Any = self.builder_config  # a CxrRegistryConfig
        features = tfds.features
        dtype = {8: np.uint8, 16: np.uint16}[config.bits]
        shape = (config.side, config.side, 1)
        return self.dataset_info_from_configs(
            features=features.FeaturesDict(
                {
                    "image": features.Image(
                        shape=shape, dtype=dtype, encoding_format="png"
                    ),
                    "labels": features.FeaturesDict(
                        dict.fromkeys(config.findings, np.int64)
                    ),
                    "objects": features.Sequence(
                        {
                            "bbox": features.BBoxFeature(),
                            "site": features.Text(),
                        }
                    ),
                    "content": features.Tensor(shape=(4,), dtype=np.float32),
                    "patient": features.Text(),
                    "image_id": features.Text(),
                    "row": np.int64,
                    "days": np.int64,
                    "view": features.Text(),
                    "sex": features.Text(),
                    "age_band": features.Text(),
                    "stored_shape": features.Tensor(shape=(2,), dtype=np.int64),
                    "spacing_mm": np.float32,
                }
            ),
            # the order of the table: a shuffle by key would be one more variable
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        del dl_manager  # nothing is downloaded
        config: Any = self.builder_config
        return {name: self._generate_examples(name) for name in config.splits}

    def _generate_examples(self, split: str):
        if self._examples is None:
            raise ValueError(
                "this builder is filled by `python -m data.cxr_registry.build`"
            )
        for key, example in self._examples(split):
            objects = [
                {**item, "bbox": tfds.features.BBox(*map(float, item["bbox"]))}
                for item in example["objects"]
            ]
            image = io.BytesIO(example["image"])
            yield key, {**example, "image": image, "objects": objects}
