"""Laws of nets of other heads through export's programs and predict: what the record of
a film says is what the program says of its square."""

import json
import shutil
from pathlib import Path

import highdicom as hd
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from aals_jax.handover import folder, predict, preprocessing, programs, station
from aals_jax.handover.preprocessing import of_config
from aals_jax.runtime import files, weights
from data.reading_room import films
from data.reading_room.inputs import Source
from tests.support import registry_files
from tests.support.small_runs import random_weights, small_config

POINTS = [{"name": "all", "level": "lesion", "threshold": 0.0}]


def untrained(method: str, exported: Path, out: Path) -> Path:
    """A folder as export writes it, with a net of that method and random weights."""
    config = small_config(out.parent, method=method, **{"boxes.top_k": 20})
    arrays, side = random_weights(config, statistic=1.0), config.data.side
    shutil.copytree(exported, out)
    weights.write(out / folder.WEIGHTS, arrays, {"source": "random"})
    lowered, images = programs.lower(config, arrays, side=side)
    for platform, content in lowered.items():
        files.write_bytes(out / programs.name_of(platform), content)
    files.write_json(out / folder.CONFIG, json.loads(config.to_json()))
    files.write_json(out / folder.PREPROCESSING, of_config(config).as_json())
    files.write_json(out / folder.POINTS, POINTS)
    folder.write_manifest(out, {"model": "teacher", "batch": {"stablehlo": images}})
    return out


@pytest.mark.parametrize("method", ["fcos", "retinanet", "chexnet"])
def test_a_film_has_what_the_program_says_of_it(exported, method, tmp_path):
    model = untrained(method, exported.model, tmp_path / "model")
    path = registry_files.write(
        tmp_path / "a.dcm", registry_files.film(0), **registry_files.WINDOW,
        StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.4",
    )  # fmt: skip
    out = tmp_path / "out"
    out.mkdir()
    options = station.Options(out=out, workers=0, sr=True)
    desk = station.Station(model, options, load_config=ConfigDict)
    assert predict.predict(desk, [path])
    record = json.loads((out / "films/000001.json").read_text())

    side = desk.model.preprocessing.side
    film = films.read(
        (1, Source(path, is_named=True)),
        reading=films.Reading(side=side, bits=8, allow=(), timeout_s=60),
    )
    assert isinstance(film, films.Film)
    program = jax.export.deserialize((model / programs.name_of("cpu")).read_bytes())
    (said,) = np.asarray(
        program.call(
            weights.read(model / folder.WEIGHTS),
            preprocessing.to_input(film.square)[None],
        )
    )
    reported = [box for box in record["boxes"] if box["reported"]]
    if method == "chexnet":
        assert said.shape == (side // 4, side // 4)
        x0, y0, x1, y1 = (film.content // 4).astype(int)
        peak = said[y0:y1, x0:x1].max()
        assert reported[0]["score"] == pytest.approx(peak, abs=1e-6)
    else:
        best = said[np.argmax(said[:, 4])]
        assert record["score"] == pytest.approx(best[4], abs=1e-6)
        corners = np.clip(
            best[:4], np.tile(film.content[:2], 2), np.tile(film.content[2:], 2)
        )
        expected = films.map_boxes(film.to_stored, corners[None], film.stored_shape)
        box = [reported[0][name] for name in ("x0", "y0", "x1", "y1")]
        np.testing.assert_allclose(box, expected[0], atol=1e-3)

    content = hd.sr.srread(out / record["files"]["sr"]).content
    groups = content.get_planar_roi_measurement_groups()
    assert len(groups) == len(reported) + 1  # and that of the whole film
