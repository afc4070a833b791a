"""Laws of the audit: all faults told, duplicates found, nothing of a patient shown.

With AALS_SHARED_DATA set, the 1,000 real films of its nih_cxr_pneumonia are audited.
"""

import csv
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aals_jax.input import audit
from aals_jax.report import audit_page
from data.cxr_registry.dicom import makers
from data.cxr_registry.guard import checks
from data.cxr_registry.survey import duplicates, looks, table_survey
from data.cxr_registry.tables import records
from data.phantom import registry as phantom
from tests.support.command_line import launch
from tests.support.registry_files import (
    REGIONS_HEAD,
    STUDIES_HEAD,
    WINDOW,
    film,
    registry,
    table,
    write,
)


def run(root: Path, out: Path, **options) -> tuple[bool, dict, str]:
    """Whether it passed, audit.json, and the page."""
    passed = audit.audit(audit.AuditOptions(registry=root, out=out, **options))
    text = (out / "audit.json").read_text()
    return passed, json.loads(text), (out / "audit.html").read_text()


def smooth(seed: int, *, side: int = 96) -> np.ndarray:
    """f32[side, side] in [0, 1]: soft shapes, as a film has them."""
    coarse = np.random.default_rng(seed).random((14, 14), np.float32)
    picture = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 1)


# ---- near duplicates


@st.composite
def tables_of_hashes(draw) -> np.ndarray:
    """u8[n, 32]: some hashes, and copies of them with up to 40 flipped bits."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kinds = rng.integers(0, 256, (draw(st.integers(1, 4)), 32), np.uint8)
    # few distinct bytes: many bands agree, and pairs are met in several
    kinds[:, draw(st.integers(0, 32)) :] = 7
    chosen = rng.integers(0, len(kinds), draw(st.integers(0, 24)))
    bits = np.unpackbits(kinds[chosen], axis=1)
    for row in bits:
        row[rng.choice(256, rng.integers(0, 41), replace=False)] ^= 1
    return np.packbits(bits, axis=1)


@given(tables_of_hashes())
@settings(deadline=None)
def test_the_search_finds_what_comparing_all_pairs_finds(hashes):
    """The guarantee: no pair of at most 31 differing bits is missed."""
    found = duplicates.near([one.tobytes() for one in hashes])
    first: dict[bytes, int] = {}
    expected = set()
    for index, one in enumerate(hashes):
        leader = first.setdefault(one.tobytes(), index)
        if leader != index:  # one stands for all of its equals
            expected.add((leader, index, 0))
    leaders = sorted(first.values())
    for left in leaders:
        for right in leaders:
            distance = int(np.bitwise_count(hashes[left] ^ hashes[right]).sum())
            if left < right and distance <= duplicates.NEAR:
                expected.add((left, right, distance))
    assert found.complete
    assert set(map(tuple, found.pairs.tolist())) == expected


def test_the_worst_pairs_are_found_too():
    """31 differing bits, spread so that one band alone is close, by one bit of it."""
    rng = np.random.default_rng(0)
    one = rng.integers(0, 2, (256, 16, 16), np.uint8)  # pair, band, bit
    other = one.copy()
    for pair, bands in enumerate(other):
        close, bit = divmod(pair, 16)
        for band, bits in enumerate(bands):
            two = rng.choice(16, 2, replace=False)
            bits[[bit] if band == close else two] ^= 1
    tables = (np.packbits(bits.reshape(256, 256), axis=1) for bits in (one, other))
    hashes = [row.tobytes() for hashed in tables for row in hashed]
    found = {tuple(pair) for pair in duplicates.near(hashes).pairs.tolist()}
    assert found == {(pair, pair + 256, 31) for pair in range(256)}


def test_equal_hashes_cost_a_pair_each_and_a_flood_stops_at_the_limit():
    flat = (np.full((64, 64), grey, np.float32) for grey in (0, 0.3))
    blank = [duplicates.perceptual_hash(picture) for picture in flat]
    assert blank[0] == blank[1]  # rounding of a flat picture is no structure
    assert len(duplicates.near(blank * 500).pairs) == 999
    stopped = duplicates.near(blank * 500, limit=10)
    assert not stopped.complete and len(stopped.pairs) == 10


@pytest.mark.parametrize("seed", range(3))
def test_the_hash_keeps_through_what_an_export_does(seed):
    """Another window, size, compression, noise: near. Another image: far."""
    picture = smooth(seed)
    levels = np.rint(255 * picture).astype(np.uint8)
    _, jpeg = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, 50])
    noise = np.random.default_rng(seed).normal(0, 0.02, picture.shape)
    half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    changed = {
        "compression": cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE) / np.float32(255),
        "brightness": np.clip(0.8 * picture + 0.1, 0, 1),
        "gamma": picture**0.8,
        "noise": np.clip(picture + noise, 0, 1).astype(np.float32),
        "size": half,
    }
    original = _bits(picture)
    for name, other in changed.items():
        assert np.sum(_bits(other) != original) <= duplicates.NEAR, name
        assert duplicates.digest(other) != duplicates.digest(picture)
    assert np.sum(_bits(smooth(seed + 100)) != original) > 2 * duplicates.NEAR


def _bits(picture: np.ndarray) -> np.ndarray:
    hashed = duplicates.perceptual_hash(picture.astype(np.float32))
    return np.unpackbits(np.frombuffer(hashed, np.uint8))


# ---- makers


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("GE MEDICAL SYSTEMS", "GE"),
        ('"GE Healthcare"', "GE"),
        ("FUJI PHOTO FILM Co., ltd.", "Fujifilm"),
        ("FUJIFILM Corporation", "Fujifilm"),
        ("Eastman Kodak Company", "Carestream / Kodak"),
        ("Philips Medical Systems", "Philips"),
        ("SIEMENS", "Siemens"),
        ("Canon Inc.", "Canon"),
        ("Gerhard Fujita, radiographer", "other"),
        ("General Hospital, GE unit", "other"),
        ("", ""),
        (" - ", ""),
    ],
)
def test_free_text_becomes_a_makers_name_or_other(field, name):
    assert makers.name_of(field) == name


# ---- a registry with everything wrong


def broken(root: Path) -> Path:
    """Faults in both tables, duplicates, disagreement, flags, canaries everywhere."""
    dicom = {**WINDOW, "PixelSpacing": [0.2, 0.2]}
    for index in range(20):
        write(
            root / f"CANARY-{index}.dcm",
            film(index),
            **dicom,
            Manufacturer="GE MEDICAL SYSTEMS" if index < 3 else "CANARY Hospital",
            BurnedInAnnotation="YES" if index == 4 else "NO",
            PatientName="CANARY^NAME",
            ViewPosition="PA" if index < 10 else "CANARY",
        )
    shutil.copy(root / "CANARY-0.dcm", root / "CANARY-same.dcm")
    write(root / "CANARY-near.dcm", film(1) + (film(99) > 790), **dicom)
    (root / "CANARY-broken.dcm").write_bytes(b"CANARY" * 99)
    head = (*STUDIES_HEAD, "rib", "diagnosis_codes", "view", "split")
    rows = [
        (
            f"CANARY-{index}.dcm",
            f"CANARY-p{index}",
            f"{2018 + index % 2}-03-07",
            index % 2,
            "S22.41XA" if index == 2 else "J18.9",
            "CANARYVIEW" if index == 5 else "",
            "train" if index < 12 else "test" if index < 17 else "validation",
        )
        for index in range(20)
    ]
    rows += [
        ("CANARY-same.dcm", "CANARY-p19", "2018-01-01", 0, "", "AP", "test"),
        ("CANARY-near.dcm", "CANARY-p1", "2018-01-01", 1, "", "AP", "train"),
        ("CANARY-broken.dcm", "CANARY-p1", "CANARY-soon", 7, "CANARY", "", "train"),
        ("CANARY-gone.dcm", "", "", "", "", "", ""),
    ]
    table(root / "studies.csv", [head, *rows])
    with (root / "studies.csv").open("a") as stream:
        stream.write(",".join(["CANARY"] * 9) + "\n")
    boxes = [
        ("CANARY-1.dcm", "rib", 8, 12, 20, 24),
        ("CANARY-3.dcm", "rib", 1, 1, 5, 10),
        ("CANARY-2.dcm", "rib", 1, 1, 5, 10),
        ("CANARY-3.dcm", "CANARY", 1, 1, 500, 10),
    ]
    table(root / "regions.csv", [REGIONS_HEAD, *boxes])
    return root


def test_every_fault_is_named_at_once_and_nothing_of_a_patient(tmp_path, caplog):
    root = broken(tmp_path / "registry")
    before = sorted((p.name, p.read_bytes()) for p in root.rglob("*"))
    passed, found, page = run(root, tmp_path / "out", max_bad_share=0.01)
    assert not passed and not found["passed"]
    faults = {(f["file"], f["row"], f["check"]) for f in found["faults"]}
    assert faults == {
        ("studies.csv", 4, "box_on_negative"),
        ("studies.csv", 22, "patient_in_two_splits"),
        ("studies.csv", 22, "same_pixels"),
        ("studies.csv", 24, "bad_date"),
        ("studies.csv", 24, "bad_value"),
        ("studies.csv", 25, "bad_value"),
        ("studies.csv", 25, "columns"),
        ("studies.csv", 26, "table"),
        ("studies.csv", None, "quarantine"),
        ("regions.csv", 5, "unknown_site"),
        ("regions.csv", 5, "box_outside"),
    }
    # the build stops with the same faults, those of pixels apart
    with pytest.raises(checks.RegistryError) as caught:
        records.read_registry(root, findings=["clavicle", "rib"])
    assert {(p.file, p.row, p.check) for p in caught.value.problems} == {
        fault for fault in faults if fault[2] not in ("same_pixels", "quarantine")
    }
    for fault in found["faults"]:
        assert fault["text"] in page.replace("&lt;", "<").replace("&#39;", "'")
    for text in (page, (tmp_path / "out/audit.json").read_text(), caplog.text):
        assert "CANARY" not in text and str(tmp_path) not in text
        assert "2018-03" not in text and "03-07" not in text
    assert sorted((p.name, p.read_bytes()) for p in root.rglob("*")) == before


def test_what_is_counted(tmp_path):
    root = broken(tmp_path / "registry")
    _, found, _ = run(root, tmp_path / "out", findings=("rib",))
    assert found["table"]["rows"] == 24
    assert found["supervision"]["rib"] == {"R": 3, "P": 9, "N": 10, "unknown": 1}
    assert found["labels"]["rib"] == {"1": 12, "0": 10, "-1": 1}
    other_view = found["unclear"].pop(
        "views in other words; laterals may be among them"
    )
    assert other_view["rows"] == found["views"]["other"]["images"] == 1
    assert found["unclear"] == {
        kind: {"rows": 1, "examples": [24]}
        for kind in ("labels that can't be read", "codes that can't be read")
    }
    assert {year: c["images"] for year, c in found["years"].items()} == {
        "2018": 12,
        "2019": 10,
        "unknown": 1,
    }
    pixels = found["pixels"]
    assert {maker: c["images"] for maker, c in pixels["makers"].items()} == {
        "GE": 4,
        "other": 17,
        "unknown": 2,
    }
    assert {view: c["images"] for view, c in pixels["views"].items()} == {
        "AP": 2,
        "PA": 9,
        "other": 1,  # in the table; a header's word that is no view is unknown
        "unknown": 11,
    }
    assert pixels["burned_in"]["flagged_rows"] == [6]
    assert [one["row"] for one in pixels["unreadable"]] == [24]
    (same,) = pixels["same_pixels"]["groups"]
    assert same == {"rows": [2, 22], "one_patient": False, "one_split": False}
    near = pixels["near_same"]["pairs"]
    assert {"rows": [3, 23], "one_patient": True, "one_split": True} in [
        {key: pair[key] for key in pair if key != "distance"} for pair in near
    ]
    said = {(d["row"], d["first"], d["second"]) for d in found["disagreements"]["rows"]}
    assert (4, "region 1", "column 0") in said
    assert (4, "region 1", "codes 1") not in said
    boxes = found["boxes"]["rib"]
    assert (boxes["boxes"], boxes["images"], boxes["an_image"]) == (3, 3, {"1": 3})
    assert boxes["sqrt_area_px"]["max"] == 12 and boxes["sqrt_area_px"]["min"] == 6
    assert boxes["share_of_image"]["max"] == pytest.approx(144 / (60 * 48), abs=1e-4)
    assert pixels["box_sqrt_area_mm"]["rib"]["max"] == pytest.approx(2.4)
    assert found["table"]["missing"]["view"] == 21


def test_flagged_images_are_in_no_picture(tmp_path):
    studies = records.scan_registry(
        broken(tmp_path),
        findings=["rib"],
        problems=checks.Problems(),
        options=records.ReadingOptions(),
    ).studies
    shown = {study.row: looks.picture(study, side=40) for study in studies}
    assert [row for row, picture in shown.items() if picture is None] == [6, 24]
    picture = shown[3]
    assert picture is not None and picture.pixels.shape == (40, 32)
    assert np.allclose(picture.boxes, np.array([[8, 12, 20, 24]]) * 40 / 60)


# ---- folds


def test_folds_have_the_counts_of_their_parts_and_say_what_lacks(tmp_path):
    root = registry(tmp_path / "registry", images=60)
    passed, found, page = run(root, tmp_path / "out", pixels=False)
    assert passed and found["faults"] == [] and found["pixels"] is None
    assert len(found["folds"]) == 5
    for fold in found["folds"]:
        total = {
            kind: sum(fold["rib"][s][kind] for s in records.SPLITS)
            for kind in table_survey.SUPERVISION
        }
        assert total == found["supervision"]["rib"]
        assert fold["rib"]["shortages"] == []
    lines = (root / "studies.csv").read_text().splitlines()
    # positives of one patient only: most folds have none to test on
    kept = [lines[0], *(line.replace(",1,PA", ",0,PA") for line in lines[1:]), ""]
    (root / "studies.csv").write_text("\n".join(kept))
    (root / "regions.csv").unlink()
    _, found, page = run(root, tmp_path / "out", pixels=False)
    for fold in found["folds"]:
        assert any("no image has the finding" in t for t in fold["rib"]["shortages"])
    assert "no image has the finding" in page


def test_findings_are_those_that_the_table_defines(tmp_path):
    root = tmp_path / "registry"
    (root).mkdir()
    for name in "abc":
        (root / name).touch()
    head = (*STUDIES_HEAD, "diagnosis_codes", "nodule", "remark", "typo")
    rows = [("a", 1, "", "", 1, "fine", 1), ("b", 2, "", "", 0, "1", 0)]
    table(root / "studies.csv", [head, *rows, ("c", 3, "", "", "", "bad", "x")])
    _, found, _ = run(root, tmp_path / "out", pixels=False)
    assert found["options"]["findings"] == ["rib", "clavicle", "nodule", "typo"]
    assert [(f["row"], f["check"]) for f in found["faults"]] == [(4, "bad_value")]
    passed, found, _ = run(root, tmp_path / "out", pixels=False, allow=("bad_value",))
    assert passed and found["allowed"] == {"bad_value": 1}


def test_a_table_without_its_header_names_no_patient(tmp_path):
    root = tmp_path / "registry"
    root.mkdir()
    rows = [(f"CANARY-{n}.png", f"CANARY-p{n}", "2020-03-07", "CANARY") for n in "ab"]
    table(root / "studies.csv", rows)
    passed, found, page = run(root, tmp_path / "out")
    assert not passed
    assert {fault["check"] for fault in found["faults"]} == {"columns"}
    assert [*found["table"]["missing"]] == [f"column {place}" for place in range(1, 5)]
    assert "CANARY" not in json.dumps(found) + page and "03-07" not in page


def test_an_audit_writes_nothing_into_the_registry(tmp_path):
    root = registry(tmp_path, images=2)
    with pytest.raises(ValueError, match="lies in the registry"):
        audit.audit(audit.AuditOptions(registry=root, out=root / "audit"))


def test_the_page_needs_nothing_from_outside(tmp_path):
    _, found, page = run(registry(tmp_path / "registry"), tmp_path / "out")
    assert "<script" not in page and "http-equiv" in page
    assert not any(f'{at}="http' in page for at in ("src", "href", "xlink:href"))
    assert "Research only, not a medical device." in page
    assert audit_page.render(result=found) == audit_page.render(result=found)


def test_the_phantom_audits_cleanly_and_is_named_one(tmp_path):
    root = tmp_path / "phantom"
    options = phantom.PhantomOptions(
        images=24, seed=0, conspicuity={"rib": 1.0, "clavicle": 1.0}, height=96
    )
    phantom.generate(root, options, workers=1)
    passed, found, page = run(root, tmp_path / "out")
    assert passed and found["options"]["findings"] == ["rib", "clavicle"]
    assert found["pixels"]["burned_in"] == {
        "flagged_rows": [],
        "yes": 0,
        "no": 24,
        "not_stated": 0,
    }
    assert set(found["pixels"]["makers"]) == {"Phantom"}
    assert "Drawn phantom." in page


def test_what_the_header_says_of_the_image_is_held_against_the_image(tmp_path):
    """A negative, a lateral, a window of another depth, a portable film, a DR."""
    root = tmp_path / "phantom"
    options = phantom.PhantomOptions(
        images=24, seed=0, conspicuity={"rib": 1.0, "clavicle": 1.0}, height=96
    )
    phantom.generate(root, options, workers=1)
    with (root / "studies.csv").open(newline="") as stream:
        names = [row["image"] for row in csv.DictReader(stream)]

    def change(row: int, **fields) -> None:
        header = pydicom.dcmread(root / names[row - 2])
        for name, value in fields.items():
            setattr(header, name, value)
        header.save_as(root / names[row - 2])

    header = pydicom.dcmread(root / names[0])
    other = {"MONOCHROME1": "MONOCHROME2", "MONOCHROME2": "MONOCHROME1"}
    kind = other[header.PhotometricInterpretation]
    shape = "INVERSE" if kind == "MONOCHROME1" else "IDENTITY"
    change(2, PhotometricInterpretation=kind, PresentationLUTShape=shape)
    change(3, ViewPosition="LL")
    wide = {"VOILUTSequence": None, "VOILUTFunction": None}
    change(4, WindowCenter=1 << 20, WindowWidth=1 << 21, **wide)
    change(5, SeriesDescription="CANARY CHEST PORTABLE AP")
    change(6, Modality="DR")
    change(7, ViewPosition="PA", SeriesDescription="CANARY CHEST LATERAL")
    passed, found, page = run(root, tmp_path / "out", max_bad_share=0.1)
    assert not passed
    (fault,) = found["faults"]
    assert (fault["row"], fault["check"]) == (2, "negative")
    pixels = found["pixels"]
    assert pixels["negative_rows"] == [2] and pixels["lateral_rows"] == [3]
    assert pixels["view_conflict_rows"] == [7]
    assert pixels["brightness_corrected_rows"] == [4]
    assert pixels["portable"]["named"]["images"] == 1
    (refused,) = pixels["unreadable"]
    assert refused["row"] == 6 and "Modality DR" in refused["reason"]
    assert "CANARY" not in page + json.dumps(found)
    allow = ("negative", "modality")
    passed, found, _ = run(root, tmp_path / "out", allow=allow)
    assert passed and found["allowed"] == {"negative": 1}
    assert found["pixels"]["modalities"]["DR"] == 1


def test_the_command_fails_when_a_fault_stands(tmp_path):
    root = broken(tmp_path / "registry")
    flags = ("--registry", str(root), "--nopixels", "--out=out", "--workers=0")
    told = launch("--mode=audit", *flags, cwd=tmp_path)
    assert told.returncode == 1
    assert "studies.csv row 26: 9 cells under 7 columns" in told.stderr
    assert "CANARY" not in told.stderr + told.stdout
    assert not json.loads((tmp_path / "out/audit.json").read_text())["passed"]


def test_the_public_films_audit_cleanly(tmp_path):
    folder = os.environ.get("AALS_SHARED_DATA")
    if not folder:
        pytest.skip("AALS_SHARED_DATA does not name the folder of nih_cxr_pneumonia")
    root = Path(folder) / "nih_cxr_pneumonia"
    passed, found, _ = run(root, tmp_path / "out")
    assert passed and found["options"]["findings"] == ["pneumonia"]
    assert found["supervision"]["pneumonia"] == {
        "R": 43,
        "P": 457,
        "N": 500,
        "unknown": 0,
    }
    assert not any(fold["pneumonia"]["shortages"] for fold in found["folds"])
    pixels = found["pixels"]
    assert (pixels["readable"], pixels["unreadable"]) == (1_000, [])
    assert pixels["same_pixels"]["images"] == 1
    assert pixels["same_pixels"]["across_patients"] == 0
    assert pixels["near_same"]["found"] == 0
