"""Laws of the phantom: it is deterministic, honest about its truth, and readable."""

import concurrent.futures
import contextlib
import csv
import dataclasses
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import processing

from aals_jax.input import prepare
from aals_jax.runs import data_options
from configs import base
from data.phantom import anatomy, bones, dicom_file, fractures
from data.phantom import registry as phantom

PLAIN = {"rib": 1.0, "clavicle": 1.0}
OPTIONS = phantom.PhantomOptions(images=24, seed=5, conspicuity=PLAIN, height=160)
SITE_CODES = {"rib": ("807.0", "S22.3", "S22.4"), "clavicle": ("810.", "S42.0")}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "registry"
    phantom.generate(folder, OPTIONS, workers=1)
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def digest(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def read(path: Path) -> tuple[np.ndarray, pydicom.Dataset]:
    """Upright film, bone bright, by the standard's own order of transforms."""
    dataset = pydicom.dcmread(path)
    values = dataset.pixel_array
    if dataset.get("RescaleSlope", 1) != 1 or dataset.get("RescaleIntercept", 0) != 0:
        values = processing.apply_modality_lut(values, dataset)
    values = processing.apply_voi_lut(values, dataset, index=0).astype(float)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        values = values.max() - values
    upright, _ = dicom_file.turn(values, {}, tuple(dataset.PatientOrientation))
    return upright, dataset


def test_bytes_do_not_depend_on_the_number_of_workers(root, tmp_path):
    phantom.generate(tmp_path / "two", OPTIONS, workers=2)
    assert digest(tmp_path / "two") == digest(root)


def of_session(number: int) -> list[str]:
    """States of the processes of a session, zombies left out (Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == number and fields[0] != "Z":
                found.append(fields[0])
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
def test_a_killed_drawing_leaves_no_process_behind(tmp_path):
    code = (
        "from data.phantom import registry as phantom\n"
        "if __name__ == '__main__':\n"
        "    options = phantom.PhantomOptions(\n"
        "        images=5000, seed=0, height=160, "
        "conspicuity=dict(rib=1, clavicle=1))\n"
        f"    phantom.generate({str(tmp_path / 'x')!r}, options, workers=2)\n"
    )
    (tmp_path / "draw.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "draw.py")],
        env=environment,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".x.partial-*/images/*.dcm")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    assert len(of_session(process.pid)) >= 3
    process.kill()
    process.wait()
    while of_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert of_session(process.pid) == []


def test_a_second_call_returns_at_once_and_other_arguments_are_refused(root):
    before = digest(root)
    phantom.generate(root, OPTIONS, progress=lambda done, total: pytest.fail("drew"))
    with pytest.raises(ValueError, match="seed=5 not 6"):
        phantom.generate(root, dataclasses.replace(OPTIONS, seed=6))
    fainter = {"rib": 0.5, "clavicle": 1.0}
    with pytest.raises(ValueError, match=r"conspicuity=.*'rib': 1.0"):
        phantom.generate(root, dataclasses.replace(OPTIONS, conspicuity=fainter))
    assert digest(root) == before


@pytest.mark.parametrize("conspicuity", [0.5, {"rib": 0.5}, {**PLAIN, "skull": 1.0}])
def test_conspicuity_is_one_number_a_site(conspicuity):
    with pytest.raises(ValueError, match="conspicuity must name"):
        dataclasses.replace(OPTIONS, conspicuity=conspicuity)


def test_a_broken_off_run_leaves_nothing_that_looks_complete(tmp_path):
    folder = tmp_path / "registry"

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        phantom.generate(folder, OPTIONS, workers=1, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == [".locks"]
    # a killed one cannot even clean up: its folder has another name and no record,
    # and the next one that draws this phantom removes it, but no other's
    killed, other = (
        tmp_path / f".{name}.partial-killed" for name in ("registry", "registry2")
    )
    for left in (killed, other):
        (left / "images").mkdir(parents=True)
    phantom.generate(folder, dataclasses.replace(OPTIONS, images=2), workers=1)
    assert (folder / "phantom.json").is_file()
    assert not killed.exists() and other.exists()
    (folder / "phantom.json").unlink()
    with pytest.raises(ValueError, match="not a phantom"):
        phantom.generate(folder, dataclasses.replace(OPTIONS, images=2), workers=1)


@pytest.mark.parametrize("site", fractures.SITES)
def test_conspicuity_zero_is_bit_for_bit_the_whole_bone(site):
    whole = phantom.draw(7, 3, height=160, broken={})
    hidden = phantom.draw(7, 3, height=160, broken={site: 0.0})
    seen = phantom.draw(7, 3, height=160, broken={site: 1.0})
    assert np.array_equal(whole.pixels, hidden.pixels)
    assert not np.array_equal(whole.pixels, seen.pixels)
    assert len(hidden.boxes[site]) >= 1
    assert np.array_equal(hidden.boxes[site], seen.boxes[site])
    assert (whole.sex, whole.age, whole.view) == (seen.sex, seen.age, seen.view)


@pytest.mark.parametrize("conspicuity", [0.3, 1.0])
@pytest.mark.parametrize("site", fractures.SITES)
def test_the_boxes_mark_what_a_fracture_changes(site, conspicuity):
    inside = np.zeros(2)  # change and pixels
    outside = np.zeros(2)
    for index in range(6):
        whole = phantom.draw(1, index, height=320, broken={})
        broken = phantom.draw(1, index, height=320, broken={site: conspicuity})
        change = np.abs(broken.pixels - whole.pixels)
        assert change.max() > 0.05
        covered, near = np.zeros((2, *change.shape), bool)
        # the fragments turn about points this far away, on the film and magnified
        reach = 1.2 * fractures.REACH[site][1] / broken.spacing
        for box in broken.boxes[site]:
            x0, y0, x1, y1 = np.rint(box).astype(int)
            covered[y0:y1, x0:x1] = True
            assert change[y0:y1, x0:x1].max() > 0.02
            low, high = np.maximum(box[:2] - reach, 0), box[2:] + reach
            x0, y0, x1, y1 = np.rint([*low, *high]).astype(int)
            near[y0:y1, x0:x1] = True
        assert change[~near].max() == 0
        inside += [change[covered].sum(), covered.sum()]
        outside += [change[~covered].sum(), (~covered).sum()]
    assert inside[0] / inside[1] > 50 * outside[0] / outside[1]
    assert inside[0] > 1.5 * outside[0]  # the displaced stretch is longer than the box


def test_several_broken_ribs_are_neighbours_on_one_side():
    rng = np.random.default_rng(0)
    for _ in range(300):
        bones_ = [crack.bone for crack in fractures.sample(rng, "rib")]
        numbers = [int(bone.removeprefix("rib")[:1]) for bone in bones_]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert numbers[0] >= 4 and numbers[-1] <= 9
        assert len({bone[-2:] for bone in bones_}) == 1


# What is drawn may not change unless the version does: the sum of a film, and of what
# its fractures change. Raise VERSION, then write the new numbers here.
DRAWN = {5: {"film": 23814.126, "rib": 48.337377, "clavicle": 21.952314}}


def test_another_drawing_has_another_version():
    film = phantom.draw(1, 3, height=200, broken={}).pixels
    found = {"film": float(film.sum(dtype=np.float64))}
    for site in fractures.SITES:
        broken = phantom.draw(1, 3, height=200, broken={site: 0.5}).pixels
        found[site] = float(np.abs(broken - film).sum(dtype=np.float64))
    assert found == pytest.approx(DRAWN[phantom.VERSION], rel=1e-4)


@pytest.mark.parametrize("site", fractures.SITES)
def test_conspicuity_makes_the_change_greater(site):
    films = [
        phantom.draw(2, 4, height=256, broken={site: c}).pixels
        for c in (0, 0.15, 0.3, 0.6, 1)
    ]
    change = [float(np.abs(film - films[0]).sum()) for film in films]
    assert change == sorted(change)
    assert change[1] > 0


def test_boxes_are_as_many_and_as_large_as_in_chestxdet():
    rng = np.random.default_rng(0)
    count = [len(fractures.sample(rng, "rib")) for _ in range(2000)]
    assert np.mean(np.equal(count, 1)) == pytest.approx(240 / 389, abs=0.04)
    assert np.mean(np.equal(count, 2)) == pytest.approx(85 / 389, abs=0.04)
    side = []
    for index in range(60):
        film = phantom.draw(3, index, height=128, broken={"rib": 0.0})
        box = film.boxes["rib"]
        area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
        side += list(np.sqrt(area) * film.spacing / 430 * 1024)
    # ChestX-Det in its frame of 1024 pixels: quartiles 62, 77, 93
    assert np.percentile(side, [25, 50, 75]) == pytest.approx([62, 77, 93], abs=12)


def test_codes_boxes_and_plan_agree(root):
    plan = phantom.plan(24, 5, prevalence=0.25, boxed_share=0.8)
    rows, regions = table(root / "studies.csv"), table(root / "regions.csv")
    assert [row["image"] for row in rows] == [study.image for study in plan]
    boxed = {(r["image"], r["site"]) for r in regions}
    for row, study in zip(rows, plan, strict=True):
        codes = row["diagnosis_codes"].split(";")
        modern = row["study_date"] >= "2016"
        for site, starts in SITE_CODES.items():
            found = [c for c in codes if c.startswith(starts)]
            assert bool(found) == (site in study.sites)
            assert all(c.startswith("S") == modern for c in found)
            assert ((row["image"], site) in boxed) == (site in study.boxed)
        assert set(study.boxed) <= set(study.sites)
    for site in fractures.SITES:
        assert sum(site in study.sites for study in plan) == 6  # a quarter of 24
        assert sum(site in study.boxed for study in plan) == 5  # 0.8 of 6


def test_patients_have_one_body_and_films_of_different_days(root):
    rows = table(root / "studies.csv")
    by_patient: dict[str, list] = {}
    for row in rows:
        by_patient.setdefault(row["patient_id"], []).append(row)
    assert 12 < len(by_patient) < 24
    for films in by_patient.values():
        assert len({film["study_date"] for film in films}) == len(films)
        assert len({film["sex"] for film in films}) == 1


def test_every_file_reads_back_as_the_upright_drawing(root):
    seen = set()
    for study in phantom.plan(24, 5, prevalence=0.25, boxed_share=0.8):
        film, dataset = read(root / study.image)
        drawing = anatomy.draw(
            5,
            study.index,
            height=160,
            broken=dict.fromkeys(study.sites, 1.0),
            patient=study.patient,
        )
        assert np.corrcoef(film.ravel(), drawing.pixels.ravel())[0, 1] > 0.97
        assert str(dataset.PatientName).startswith("PHANTOM^")
        assert dataset.PatientSex == drawing.sex
        seen.add(dataset.PhotometricInterpretation)
        seen.add(dataset.file_meta.TransferSyntaxUID)
    assert {"MONOCHROME1", "MONOCHROME2"} < seen
    assert len(seen) >= 4


@pytest.mark.parametrize("orientation", [o for o, _ in dicom_file.ORIENTATIONS])
def test_boxes_follow_the_stored_pixels(orientation):
    film = np.zeros((40, 30), np.float32)
    film[5:9, 20:27] = 1
    boxes = {"rib": np.array([[20.0, 5.0, 27.0, 9.0]])}
    stored, moved = dicom_file.turn(film, boxes, orientation)
    x0, y0, x1, y1 = moved["rib"][0].astype(int)
    assert stored[y0:y1, x0:x1].sum() == stored.sum() == film.sum()
    again, back = dicom_file.turn(stored, moved, orientation)
    assert np.array_equal(again, film)
    assert np.array_equal(back["rib"], boxes["rib"])


@pytest.mark.parametrize("syntax", [s for s, _ in dicom_file.SYNTAXES])
def test_each_transfer_syntax_keeps_the_pixels(syntax, tmp_path, monkeypatch):
    film = phantom.draw(0, 0, height=96, broken={})
    monkeypatch.setattr(dicom_file, "SYNTAXES", ((syntax, 1.0),))
    ids = {"patient_id": "PHANTOM1", "study_date": "20150101", "entropy": ["a"]}
    dicom_file.write(tmp_path / "film.dcm", film, np.random.default_rng(1), ids)
    upright, dataset = read(tmp_path / "film.dcm")
    assert dataset.file_meta.TransferSyntaxUID == syntax
    assert np.corrcoef(upright.ravel(), film.pixels.ravel())[0, 1] > 0.97


def test_runs_that_start_together_draw_one_phantom(tmp_path, monkeypatch):
    config = base.get_config("clavicle")
    config.phantom.update(images=4, height=64)
    config.data.update(dir=str(tmp_path), workers=1)
    options = data_options.of(config)
    drawn, really = [], phantom._fill

    def fill(part, *arguments):
        drawn.append(part)
        time.sleep(0.3)  # long enough for the other to arrive
        really(part, *arguments)

    monkeypatch.setattr(phantom, "_fill", fill)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(prepare._draw_phantom, options.build, options.phantom)
            for _ in range(2)
        ]
    assert len({future.result() for future in both}) == 1
    assert len(drawn) == 1


def test_the_fragments_turn_about_points_that_stay_where_they_are():
    """A straight bone is off by c step / 2 at the break, by nothing at reach."""
    line = np.stack([np.linspace(0, 120, 61), np.full(61, 30.0)], 1)
    wide, deep = np.full(61, 5.0), np.full(61, 9.0)
    tube = bones.Tube(line, wide, deep, bones.shell_profile(0.22))
    crack = fractures.Fracture(
        site="rib", bone="rib5+1", at=0.5, side=30.0, faintness=1.0, reach=40.0,
        step=8.0, kink=0.0, gap=0.0, impact=0.0, slope=0.0, jag=0.0, phase=0.0,
        haematoma=0.0, bleed=0.0,
    )  # fmt: skip
    to_px = np.array([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    bone, blood = np.zeros((2, 240, 480), np.float32)
    bones.paint(bone, tube, to_px)
    fractures.break_bone(bone, blood, tube, crack, 0.5, to_px)
    assert not blood.any()
    rows = np.arange(240.0)
    for s in (15, 25, 35, 50, 70, 85, 95, 105):  # mm; the break is at 60
        column = bone[:, 4 * s]
        share = max(0.0, 1 - abs(s - 60) / 40)
        expected = 30 + np.sign(s - 60) * 0.5 * 8 / 2 * share
        assert (rows @ column) / column.sum() / 4 == pytest.approx(expected, abs=0.05)
