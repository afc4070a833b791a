"""Laws of a film's record that need no model's net."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aals_jax.handover import findings
from data.reading_room import films, sides
from data.reading_room.inputs import Source
from tests.support import registry_files


@pytest.mark.parametrize(
    ("orientation", "named"),
    [
        (["L", "F"], ["right", "left", "midline"]),
        (["R", "F"], ["right", "left", "midline"]),  # the square is upright
        (None, [None, None, None]),
    ],
)
def test_each_box_has_the_side_of_the_patient(tmp_path, orientation, named):
    fields: dict[str, Any] = dict(registry_files.WINDOW)
    if orientation:
        fields["PatientOrientation"] = orientation
    path = registry_files.write(tmp_path / "a.dcm", registry_files.film(0), **fields)
    reading = films.Reading(side=64, bits=8, allow=(), timeout_s=60.0)
    film = films.read((1, Source(path, is_named=True)), reading=reading)
    model: Any = SimpleNamespace(
        calibration=None, calibration_reason="", title="", digest="", finding="rib",
        points=[], preprocessing=SimpleNamespace(allow=()),
    )  # fmt: skip
    boxes = np.array(
        [[10.0, 20, 16, 30, 0.9], [48, 20, 54, 30, 0.8], [30, 3, 34, 9, 1]]
    )
    record = findings.record(film, model, score=0.5, boxes=boxes, point="")
    assert [box["side"] for box in record["boxes"]] == named
    assert record["sides"] == sides.SAID
