"""The TFDS builder: features and splits, filled with the shards of a build."""

import dataclasses
import io
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_builder import FileReaderBuilder
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from data.cxr_registry.build import versions


@dataclasses.dataclass
class CxrRegistryConfig(tfds.core.BuilderConfig):
    """What the features depend on. Holds no path and no key: TFDS writes it out."""

    findings: tuple[str, ...] = ("rib", "clavicle")
    side: int = 512  # pixels
    bits: int = 8  # a pixel, 8 or 16


def features(
    *, findings: Sequence[str], side: int, bits: int
) -> tfds.features.FeaturesDict:
    """The features of a record, see README.md."""
    of = tfds.features
    dtype = {8: np.uint8, 16: np.uint16}[bits]
    return of.FeaturesDict(
        {
            "image": of.Image(
                shape=(side, side, 1), dtype=dtype, encoding_format="png"
            ),
            "labels": of.FeaturesDict(dict.fromkeys(findings, np.int64)),
            "lesion_counts": of.FeaturesDict(dict.fromkeys(findings, np.int64)),
            "objects": of.Sequence({"bbox": of.BBoxFeature(), "site": of.Text()}),
            "content": of.Tensor(shape=(4,), dtype=np.float32),
            "patient": of.Text(),
            "image_id": of.Text(),
            "row": np.int64,
            "days": np.int64,
            "view": of.Text(),
            "sex": of.Text(),
            "age_band": of.Text(),
            "stored_shape": of.Tensor(shape=(2,), dtype=np.int64),
            "spacing_mm": np.float32,
        }
    )


def serialize(of: tfds.features.FeaturesDict, example: Mapping[str, Any]) -> bytes:
    """An example of `encode` as the bytes of a record."""
    objects = [
        {**item, "bbox": tfds.features.BBox(*map(float, item["bbox"]))}
        for item in example["objects"]
    ]
    image = io.BytesIO(example["image"])
    encoded = of.encode_example({**example, "image": image, "objects": objects})
    specs: Any = of.get_serialized_info()
    proto = ExampleSerializer(specs).get_tf_example(encoded)
    # a record is a map, which protobuf would write in another order in each process
    return proto.SerializeToString(deterministic=True)


class Builder(FileReaderBuilder):
    """Chest radiographs of one registry, in patient-disjoint parts."""

    VERSION = tfds.core.Version(versions.FEATURES)
    RELEASE_NOTES = {  # noqa: RUF012 (TFDS reads it so)
        "1.0.0": "Initial release.",
        "1.1.0": "lesion_counts: how many lesions the record names.",
    }

    def __init__(
        self,
        *,
        shards: Mapping[str, Sequence[tuple[Path, int]]] | None = None,
        **kwargs: Any,
    ):
        """
        Args:
            shards: split's name -> its finished files, with their records.
            **kwargs: go to the TFDS builder.
        """
        self._shards = shards
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        config: Any = self.builder_config  # a CxrRegistryConfig
        return self.dataset_info_from_configs(
            features=features(
                findings=config.findings, side=config.side, bits=config.bits
            ),
            # examples stay in the order of the table: a shuffle would depend on the key
            disable_shuffling=True,
        )

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None):
        """Links the finished shards into the dataset; nothing is downloaded."""
        del dl_manager, download_config
        if self._shards is None:
            raise ValueError(
                "this builder is filled by `python -m data.cxr_registry.build`"
            )
        infos = []
        for split, files in self._shards.items():
            template = self._get_filename_template(split_name=split)
            names = template.sharded_filepaths(len(files))
            for (file, _), name in zip(files, names, strict=True):
                _link(file, Path(name))
            infos.append(
                tfds.core.SplitInfo(
                    name=split,
                    shard_lengths=[records for _, records in files],
                    num_bytes=sum(file.stat().st_size for file, _ in files),
                    filename_template=template,
                )
            )
        self.info.set_splits(tfds.core.SplitDict(infos))


def _link(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except OSError:  # a file system without hard links
        shutil.copyfile(file, name)
