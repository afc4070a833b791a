"""What a model expects of a film, and how what it says is read."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from aals_jax.evaluation import model_maps
from aals_jax.input import views
from aals_jax.runs import run
from data.cxr_registry.build import encode


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """As the dataset of a run was made, and as its maps were read."""

    side: int  # of the square, px
    bits: int  # of its grey levels, 8 or 16
    allow: tuple[str, ...]  # checks that might fail: modality, lateral, burned_in
    detecting: model_maps.Detecting

    @property
    def map_side(self) -> int:
        return self.side // views.MAP_STRIDE

    def as_json(self) -> dict[str, Any]:
        """For preprocessing.json; the texts are for those who read it without us."""
        return {
            "steps": [
                "decode; brightness by modality LUT or rescale, then VOI LUT or window",
                "invert MONOCHROME1: 0 is air, 1 is bone",
                "turn upright by Patient Orientation",
                f"resize so that the longer side has {self.side} px (area averaging)",
                f"pad with air to a centred square, round to {self.bits} bits",
                "divide by the highest level: float32 in [0, 1]",
            ],
            "code": f"{encode.__name__}, data.cxr_registry.dicom.reader.to_square",
            "input": ["batch", self.side, self.side, 1],
            "map_stride": views.MAP_STRIDE,
            "side": self.side,
            "bits": self.bits,
            "allow": list(self.allow),
            "detecting": dataclasses.asdict(self.detecting),
        }


def of_config(config: Any) -> Preprocessing:
    """Of a run."""
    return Preprocessing(
        side=config.data.side,
        bits=config.data.bits,
        allow=tuple(
            sorted({"modality", "lateral", "burned_in"} & {*config.data.allow})
        ),
        detecting=run.detecting_of(config),
    )


def of_json(fields: Mapping[str, Any]) -> Preprocessing:
    """The inverse of `as_json`."""
    return Preprocessing(
        side=fields["side"],
        bits=fields["bits"],
        allow=tuple(fields["allow"]),
        detecting=model_maps.Detecting(**fields["detecting"]),
    )


def to_input(square: np.ndarray) -> np.ndarray:
    """u8 or u16 [side, side] -> f32[side, side, 1] in [0, 1], as in training."""
    return views.to_float(square)[..., None]
