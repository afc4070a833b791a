"""Laws of the build: same bytes, nothing half written, no patient in the output."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data.cxr_registry.build import (
    __main__ as build_command,
)
from data.cxr_registry.build import (
    builds,
    encode,
    folds,
    intact,
    ledger,
    plan,
    shards,
    staging,
)
from data.cxr_registry.dicom import reader
from data.cxr_registry.guard import checks, privacy
from data.cxr_registry.tables import records
from tests.support import datasets
from tests.support.registry_files import (
    REGIONS_HEAD,
    STUDIES_HEAD,
    WINDOW,
    film,
    registry,
    table,
    write,
)

OPTIONS = datasets.options(Path("registry"), Path("folder"))
build = datasets.build
contents = datasets.contents


def finished_datasets(tmp: Path) -> list[str]:
    """Their names; drafts and the lock are hidden."""
    home = tmp / "data" / "cxr_registry"
    return [item.name for item in home.iterdir() if not item.name.startswith(".")]


def source(path: Path, split: str):
    return tfds.builder_from_directory(path).as_data_source(split=split)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A registry, its dataset, and the folder of both."""
    tmp = tmp_path_factory.mktemp("built")
    root = registry(tmp / "registry")
    return root, build(root, tmp), tmp


def test_dataset_reads_back_what_encode_study_gave(built):
    root, path, tmp = built
    found = records.read_registry(root, findings=("rib",))
    key = privacy.load_or_create_key(tmp / "key")
    expected = {
        study.row: encode.encode_study(study, options=OPTIONS, key=key).example
        for study in found.studies
    }
    seen = []
    for part in range(10):
        rows = [int(record["row"]) for record in source(path, f"part_{part}")]
        assert rows == sorted(rows)
        for record in source(path, f"part_{part}"):
            want = expected[int(record["row"])]
            seen.append(int(record["row"]))
            image = cv2.imdecode(np.frombuffer(want["image"], np.uint8), -1)
            np.testing.assert_array_equal(record["image"][..., 0], image)
            boxes = np.reshape(record["objects"]["bbox"], (-1, 4))
            given = [item["bbox"] for item in want["objects"]]
            np.testing.assert_array_equal(boxes, np.reshape(given, (-1, 4)))
            assert record["labels"] == want["labels"]
            for name in ("patient", "image_id", "view", "sex", "age_band"):
                assert record[name].decode() == want[name]
            for name in ("content", "stored_shape", "days", "spacing_mm"):
                np.testing.assert_array_equal(record[name], want[name])
    assert sorted(seen) == sorted(expected)


def test_bytes_do_not_depend_on_the_number_of_workers(built, tmp_path):
    root, path, tmp = built
    told = []
    other = build(
        root,
        tmp,
        data_dir=tmp_path / "data",
        workers=2,
        key_file=tmp / "key",
        progress=lambda done, total: told.append((done, total)),
    )
    assert other.parent.name == path.parent.name
    assert contents(other) == contents(path)
    total = told[0][1]
    assert told == [(done, total) for done in range(total + 1)]  # to its very end


def test_finished_build_is_found_and_not_made_again(built):
    root, path, tmp = built
    before = {item: item.stat().st_mtime_ns for item in path.iterdir()}
    assert build(root, tmp) == path
    assert {item: item.stat().st_mtime_ns for item in path.iterdir()} == before
    assert build(root, tmp, side=32) != path


def test_a_dataset_that_lost_a_shard_or_its_end_is_refused_by_name(built, tmp_path):
    root, path, tmp = built
    folder = tmp_path / "data"
    shutil.copytree(tmp / "data", folder)
    copy = folder / path.relative_to(tmp / "data")
    intact.check(copy)
    first, second = sorted(copy.glob("*.array_record*"))[:2]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    with pytest.raises(ValueError) as told:
        build(root, tmp, data_dir=folder)
    for fault in (f"{first.name} is missing", f"{second.name}: ", f"delete .*{copy}"):
        assert re.search(fault, str(told.value)), fault
    shutil.rmtree(copy)  # the remedy
    assert contents(build(root, tmp, data_dir=folder)) == contents(path)


def test_data_hash_does_not_depend_on_the_key(built, tmp_path):
    root, path, _ = built
    other = build(root, tmp_path)
    assert builds.describe(other)["data_hash"] == builds.describe(path)["data_hash"]
    first = {record["patient"] for record in source(path, "part_0")}
    assert not first & {record["patient"] for record in source(other, "part_0")}


def test_no_patient_is_in_two_parts_and_the_table_says_which(built):
    _, path, _ = built
    table = folds.read_parts(path / ledger.PARTS_FILE)
    for part in range(10):
        for record in source(path, f"part_{part}"):
            assert table[record["patient"].decode()] == part


def test_box_encloses_its_bright_rectangle_in_the_square(tmp_path):
    shown = film(0)
    for letters, stored in {
        ("L", "F"): shown,
        ("R", "F"): shown[:, ::-1],
        ("H", "L"): shown[::-1].T,
    }.items():
        write(tmp_path / "a.dcm", stored, PatientOrientation=list(letters), **WINDOW)
        rows, columns = np.nonzero(stored == 4000)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        table(tmp_path / "regions.csv", [REGIONS_HEAD, ("a.dcm", "rib", *box)])
        head = (*STUDIES_HEAD, "rib")
        table(tmp_path / "studies.csv", [head, ("a.dcm", "1", "", 1)])
        study = records.read_registry(tmp_path, findings=("rib",)).studies[0]
        example = encode.encode_study(study, options=OPTIONS, key=b"k").example
        image = cv2.imdecode(np.frombuffer(example["image"], np.uint8), -1)
        y0, x0, y1, x1 = example["objects"][0]["bbox"] * 64
        rows, columns = np.nonzero(image > 150)
        edges = np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
        assert np.abs(edges - [y0, x0, y1, x1]).max() <= 1
        left, right = np.flatnonzero(image.any(0))[[0, -1]]
        assert (left / 64, (right + 1) / 64) == tuple(example["content"][[1, 3]])


def test_too_many_bad_files_fail_and_leave_nothing(tmp_path):
    root = registry(tmp_path / "registry")
    (root / "images/003.dcm").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"studies\.csv row 5: is not a") as caught:
        build(root, tmp_path)
    assert str(tmp_path) not in str(caught.value)
    assert not finished_datasets(tmp_path)
    path = build(root, tmp_path, max_bad_share=0.05)
    with pytest.raises(ValueError, match=r"1 of 24 images are unusable"):
        build(root, tmp_path)  # it is finished, and this call allows less
    lines = (path / ledger.QUARANTINE_FILE).read_text().splitlines()
    assert lines[0] == "row,reason" and '5,"is not a DICOM' in lines[1]


def test_one_image_under_two_patients_stops_the_build(tmp_path):
    root = registry(tmp_path / "registry")
    shutil.copy(root / "images/000.dcm", root / "images/004.dcm")
    with pytest.raises(checks.RegistryError, match=r"row 6: same pixels as row 2"):
        build(root, tmp_path)
    assert not finished_datasets(tmp_path)
    path = build(root, tmp_path, allow=("same_pixels",))
    assert builds.describe(path)["same_pixels_of_patients"] == [[6, 2]]
    with pytest.raises(checks.RegistryError, match=r"row 6: same pixels as row 2"):
        build(root, tmp_path)


def test_burned_in_text_is_quarantined_unless_allowed(tmp_path):
    root = registry(tmp_path / "registry")
    write(root / "images/000.dcm", film(0), BurnedInAnnotation="YES", **WINDOW)
    path = build(root, tmp_path, max_bad_share=0.1)
    assert "burned-in" in (path / ledger.QUARANTINE_FILE).read_text()
    path = build(root, tmp_path, allow=("burned_in",))
    assert builds.describe(path)["quarantined"] == 0


def test_laterals_are_left_out_and_no_bad_files_unless_allowed(tmp_path):
    """By the header (row 2), by its orientation (row 4), by the table (row 6)."""
    root = registry(tmp_path / "registry")
    write(root / "images/000.dcm", film(0), ViewPosition="LL", **WINDOW)
    turned = {"PatientOrientation": ["A", "F"]}
    write(root / "images/002.dcm", film(2), **turned, **WINDOW)
    lines = (root / "studies.csv").read_text().splitlines()
    lines[5] = lines[5].replace("PA", "LATERAL")
    (root / "studies.csv").write_text("\n".join(lines))
    path = build(root, tmp_path, max_bad_share=0.0)
    facts = builds.describe(path)
    assert facts["images"] == 21 and facts["quarantine_reasons"] == {encode.LATERAL: 3}
    quarantine = (path / ledger.QUARANTINE_FILE).read_text().splitlines()
    assert [line.split(",")[0] for line in quarantine] == ["row", "2", "4", "6"]
    assert f"- 3: {encode.LATERAL}" in (path / ledger.CARD_FILE).read_text()
    assert build(root, tmp_path, max_bad_share=0.0) == path
    kept = builds.describe(build(root, tmp_path, allow=("lateral",)))
    assert kept["images"] == 24 and kept["views"]["LATERAL"] == 1


def test_a_film_of_two_views_is_left_out_and_no_bad_file_unless_allowed(tmp_path):
    root = registry(tmp_path / "registry")
    words = {"ViewPosition": "PA", "SeriesDescription": "CANARY Thorax seitl."}
    write(root / "images/000.dcm", film(0), **words, **WINDOW)
    path = build(root, tmp_path, max_bad_share=0.0)
    facts = builds.describe(path)
    assert facts["images"] == 23
    assert facts["quarantine_reasons"] == {encode.VIEWS_DIFFER: 1}
    assert "CANARY" not in (path / ledger.QUARANTINE_FILE).read_text()
    assert builds.describe(build(root, tmp_path, allow=("view",)))["images"] == 24


def test_modality_in_use_and_corrected_brightness_are_on_the_card(tmp_path):
    root = registry(tmp_path / "registry")
    write(root / "images/000.dcm", film(0), Modality="DR", **WINDOW)
    window = {"WindowCenter": 1 << 15, "WindowWidth": 1 << 16}
    write(root / "images/002.dcm", film(2), **window)
    path = build(root, tmp_path, max_bad_share=0.1)
    assert "is of Modality DR" in (path / ledger.QUARANTINE_FILE).read_text()
    path = build(root, tmp_path, max_bad_share=0.1, allow=("modality",))
    facts = builds.describe(path)
    assert facts["modalities"]["DR"] == 1
    assert facts["brightness_from"] == {"image_range_window_missed": 1, "window": 23}
    assert "image_range_window_missed: 1" in (path / ledger.CARD_FILE).read_text()


def test_own_splits_replace_the_parts(tmp_path):
    root = registry(tmp_path / "registry", images=6)
    lines = (root / "studies.csv").read_text().splitlines()
    splits = ["split", *("train", "train", "validation", "validation", "test", "test")]
    rows = [f"{line},{name}" for line, name in zip(lines, splits, strict=True)]
    (root / "studies.csv").write_text("\n".join(rows))
    path = build(root, tmp_path, bits=16, side=48)
    assert builds.describe(path)["splits"] == ["train", "validation", "test"]
    record = source(path, "validation")[0]
    assert record["image"].dtype == np.uint16 and record["image"].shape == (48, 48, 1)
    assert not (path / ledger.PARTS_FILE).exists()


def test_patients_keep_their_part_from_an_earlier_table(built, tmp_path):
    root, path, tmp = built
    bigger = shutil.copytree(root, tmp_path / "registry")
    write(bigger / "images/new.dcm", film(99), **WINDOW)
    with (bigger / "studies.csv").open("a") as stream:
        stream.write("images/new.dcm,new,2020-01-01,1,PA,M,20\n")
    old = folds.read_parts(path / ledger.PARTS_FILE)
    new = build(
        bigger,
        tmp_path,
        key_file=tmp / "key",
        parts_file=path / ledger.PARTS_FILE,
    )
    table = folds.read_parts(new / ledger.PARTS_FILE)
    assert len(table) == len(old) + 1 and table | old == table


def test_too_few_patients_are_told_before_any_work(tmp_path):
    with pytest.raises(ValueError, match="3 patients leave 7 of the ten parts empty"):
        build(registry(tmp_path / "registry", images=6), tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"side": 5}, "side=5"),
        ({"bits": 12}, "bits=12"),
        ({"max_bad_share": 2}, "max_bad_share=2"),
        ({"findings": "rib"}, "give a list"),
    ],
)
def test_options_out_of_range_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, tmp_path, **change)


def test_killed_build_goes_on_after_its_finished_shards(built, tmp_path, monkeypatch):
    """SIGKILL after some shards; the rest is encoded once, the bytes are the same."""
    root, path, tmp = built
    command = [sys.executable, "-m", "data.cxr_registry.build"]
    command += ["--registry", str(root), "--data_dir", str(tmp_path / "data")]
    command += ["--findings", "rib", "--side", "64", "--key_file", str(tmp / "key")]
    command += ["--workers", "0"]
    home = tmp_path / "data" / "cxr_registry"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list(home.glob(".staging-*/0*3.array*")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
    assert not finished_datasets(tmp_path)
    finished = {
        f.name: f.stat().st_mtime_ns for f in home.glob(".staging-*/[0-9]*.array*")
    }
    assert finished
    encoded = []
    real = encode.attempt
    monkeypatch.setattr(
        encode, "attempt", lambda study, **o: encoded.append(study) or real(study, **o)
    )
    again = build(root, tmp, data_dir=tmp_path / "data")
    assert contents(again) == contents(path)
    shards_left = len(list(path.glob("*.array_record*"))) - len(finished)
    of_left = {
        int(r["row"])
        for p in range(10 - shards_left, 10)
        for r in source(path, f"part_{p}")
    }
    assert {study.row for study in encoded} == of_left
    assert not list(home.glob(".staging-*"))


def test_a_shard_whose_file_was_lost_is_made_again(tmp_path):
    """Drafts of a killed writer are not shards, whatever they hold."""
    options = datasets.options(registry(tmp_path / "registry"), tmp_path)
    planned = plan.make(options)
    shard = planned.shards[0]

    def encoded():
        return encode.encode_all(
            shard.studies, options=options, key=planned.key, workers=0
        )

    serialize = encode.serializer(options)

    replace = os.replace

    def power_cut_before_the_file(source, target):
        if str(target).endswith(".array_record"):
            raise KeyboardInterrupt
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", power_cut_before_the_file)
        shards.write(tmp_path / "draft", shard, encoded(), serialize)
    assert not shards.is_finished(tmp_path / "draft", shard)
    assert len(list((tmp_path / "draft").glob("[0-9]*.json"))) == 1  # it went first
    shards.write(tmp_path / "draft", shard, encoded(), serialize)
    assert shards.is_finished(tmp_path / "draft", shard)
    account = shards.read_account(tmp_path / "draft", shard)
    assert [example.row for example in account.written] == [
        s.row for s in shard.studies
    ]


def test_files_lost_in_a_busy_hour_are_tried_again(tmp_path):
    """A time-out is for the machine to say: the draft does not keep it."""
    root = registry(tmp_path / "registry")
    with pytest.raises(ValueError, match=r"took longer than 1e-06 s"):
        build(root, tmp_path, workers=1, timeout_s=1e-6)
    assert builds.describe(build(root, tmp_path))["quarantined"] == 0


def test_another_key_is_refused_beside_datasets_of_the_first(built, tmp_path):
    root, _, tmp = built
    with pytest.raises(ValueError, match="the key is not the one"):
        build(root, tmp, key_file=privacy_key(tmp_path / "other"))


def privacy_key(path: Path) -> Path:
    privacy.load_or_create_key(path)
    return path


def test_shards_hold_each_study_once_split_after_split(built):
    root, _, _ = built
    found = records.read_registry(root, findings=("rib",))
    split_of = {s.row: "ab"[s.row % 2] for s in found.studies}
    pieces = shards.cut(found.studies, split_of, ("a", "b"), images=5)
    rows = [s.row for piece in pieces for s in piece.studies]
    assert sorted(rows) == sorted(split_of)
    assert rows == sorted(rows, key=lambda row: (split_of[row], row))
    assert [len(piece.studies) for piece in pieces] == [5, 5, 2, 5, 5, 2]
    assert [piece.number for piece in pieces] == list(range(6))


def test_several_shards_a_split_read_back_in_order_even_an_empty_one(
    tmp_path, monkeypatch
):
    root = registry(tmp_path / "registry", images=9)
    lines = (root / "studies.csv").read_text().splitlines()
    splits = ["split", *["train"] * 7, "validation", "test"]
    rows = [f"{line},{name}" for line, name in zip(lines, splits, strict=True)]
    (root / "studies.csv").write_text("\n".join(rows))
    monkeypatch.setattr(shards, "max_images", lambda options: 2)
    for index in (2, 3):  # the second shard
        (root / f"images/00{index}.dcm").write_bytes(b"no image")
    path = build(root, tmp_path, max_bad_share=0.5, allow=("patient_in_two_splits",))
    assert [int(r["row"]) for r in source(path, "train")] == [2, 3, 6, 7, 8]
    info = tfds.builder_from_directory(path).info.splits["train"]
    assert info.shard_lengths == [2, 0, 2, 1]


def test_card_states_the_builds_own_figures(built):
    _, path, _ = built
    facts = builds.describe(path)
    card = (path / ledger.CARD_FILE).read_text()
    assert "not a medical device" in card and facts["data_hash"] in card
    for split, counts in facts["split_counts"].items():
        assert f"| {split} | {counts['images']} | {counts['patients']} |" in card
    assert "| finding | positive | negative | unknown | with regions" in card
    assert "| rib | 12 | 12 | 0 | 6 | 6 | 0 |" in card
    assert facts["views"] == {"PA": 24} and "view | PA: 24" in card


def test_command_prints_the_folder_and_explains_its_errors(built, tmp_path, capsys):
    root, path, tmp = built
    base = ["--data_dir", str(tmp / "data"), "--key_file", str(tmp / "key")]
    base += ["--findings", "rib", "--side", "64", "--workers", "0"]
    build_command.main(["--registry", str(root), *base])
    assert capsys.readouterr().out.strip() == str(path)
    with pytest.raises(SystemExit, match="error: the registry folder does not exist"):
        build_command.main(["--registry", str(tmp_path / "none"), *base])


def test_refusals_are_values_in_the_pool(tmp_path):
    head = (*STUDIES_HEAD, "rib")
    (tmp_path / "a").write_bytes(b"nothing")
    table(tmp_path / "studies.csv", [head, ("a", "1", "", 0)])
    study = records.read_registry(tmp_path, findings=("rib",)).studies[0]
    refused = encode.attempt(study, options=OPTIONS, key=b"k")
    assert isinstance(refused, encode.Refused) and refused.row == 2
    with pytest.raises(reader.UnreadableRadiograph):
        encode.encode_study(study, options=OPTIONS, key=b"k")


def test_a_build_says_that_it_waits_for_another(tmp_path, caplog):
    done = []

    def second():
        with staging.lock(tmp_path):
            done.append("second")

    caplog.set_level("INFO", logger="aals_jax")
    with staging.lock(tmp_path):
        other = threading.Thread(target=second)
        other.start()
        deadline = time.monotonic() + 30
        while "waiting" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        done.append("first")
    other.join()
    assert done == ["first", "second"]
    assert "another build is at work" in caplog.text
