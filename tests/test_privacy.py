"""Nothing of a patient comes out: planted words are searched in all that is written."""

import base64
import contextlib
import gzip
import io
import json
import logging
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import urllib.parse
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow
import pydicom
import pytest
import tensorboardX
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from aals_jax.evaluation import score, submissions
from aals_jax.input import audit
from aals_jax.metrics import readings
from aals_jax.metrics.draws import Bootstrap
from data.cxr_registry.build import ledger, versions
from data.cxr_registry.guard import failures
from data.cxr_registry.labels import report_text
from data.cxr_registry.survey import label_sheet
from data.cxr_registry.tables import records
from data.public import nih_cxr14, vindr_cxr
from tests.support import canaries, datasets, planted, registry_files

ROOT = Path(__file__).parents[1]
SEARCH = canaries.Search(planted.WORDS)
FINDINGS = ("rib", "clavicle")

# What a user with every switch for talkative software turns on, in workers too.
TALKATIVE = """
import logging, runpy, sys, warnings
import pydicom.config
logging.basicConfig(level=logging.DEBUG, filename="everything.log")
warnings.simplefilter("always")
pydicom.config.debug(True)
if __name__ == "__main__":
    program, *sys.argv[1:] = sys.argv[1:]
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__")
"""
CONFIG = """
from tests.support import planted
from tests.support.small_runs import small_config

def get_config():
    return small_config(
        "datasets",
        **{
            "registry": "../registry",
            "data.max_bad_share": 0.5,
            "data.allow": planted.ALLOW,
            "data.key_file": "../key/pseudonyms",
            "data.workers": 2,
        },
    )
"""


def start(out: Path, *arguments: str) -> subprocess.Popen:
    """A program of ours below `out`, which holds all that it writes."""
    for name in ("temp", "home"):
        (out / name).mkdir(parents=True, exist_ok=True)
    (out.parent / "talkative.py").write_text(TALKATIVE)
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "TMPDIR": str(out / "temp"),
        "HOME": str(out / "home"),
        # a few steps of a tiny net: compiling is what takes long
        "XLA_FLAGS": "--xla_backend_optimization_level=0 "
        "--xla_llvm_disable_expensive_passes=true",
    }
    command = [sys.executable, str(out.parent / "talkative.py"), *arguments]
    with (out / "stdout").open("a") as stdout, (out / "stderr").open("a") as stderr:
        return subprocess.Popen(
            command, cwd=out, env=environment, stdout=stdout, stderr=stderr
        )


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    return planted.registry(tmp_path_factory.mktemp("hospital") / "registry")


@pytest.fixture(scope="module")
def ran(registry):
    """All that a run leaves: logs, datasets, checkpoints, the page."""
    out = registry.parent / "out"
    out.mkdir()
    (registry.parent / "config.py").write_text(CONFIG)
    process = start(
        out,
        str(ROOT / "launch.py"),
        *("--config", "../config.py", "--workdir", "run", "--verbosity=1"),
    )
    assert process.wait(300) == 0, (out / "stderr").read_text()[-2000:]
    return out


@contextlib.contextmanager
def everything_said() -> Iterator[io.StringIO]:
    """Log lines of all loggers at DEBUG, warnings and prints."""
    said = io.StringIO()
    handler, root = logging.StreamHandler(said), logging.getLogger()
    level, root.level = root.level, logging.DEBUG
    root.addHandler(handler)
    pydicom.config.debug(True, default_handler=False)
    try:
        with (
            warnings.catch_warnings(record=True) as warned,
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            warnings.simplefilter("always")
            yield said
        said.write("\n".join(str(each.message) for each in warned))
    finally:
        pydicom.config.debug(False)
        root.removeHandler(handler)
        root.level = level


def prepare(root: Path, tmp: Path, **changes) -> Path:
    options = {
        "findings": FINDINGS,
        "workers": 1,
        "max_bad_share": 0.5,
        "allow": planted.ALLOW,
    }
    return datasets.build(root, tmp, **(options | changes))


# --- the search itself: what it could not find would prove nothing


def png_with_text(text: str) -> bytes:
    data = cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes()
    return data[:33] + planted.chunk(b"tEXt", text.encode()) + data[33:]


def in_array_record(path: Path, text: str) -> None:
    writer = ArrayRecordWriter(str(path), "group_size:1")
    writer.write(b"\0" * 99 + text.encode() + b"\0" * 99)
    writer.close()


def in_page(path: Path, text: str) -> None:
    uri = base64.b64encode(png_with_text(text)).decode()
    path.write_text(f'<img src="data:image/png;base64,{uri}">')


def in_tensorboard(path: Path, text: str) -> None:
    with tensorboardX.SummaryWriter(str(path)) as writer:
        writer.add_text("note", text)


def in_zstd(path: Path, text: str) -> None:
    with pyarrow.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(b"\0" * 99 + text.encode())


def in_names(path: Path, text: str) -> None:
    for word in text.split(" | "):
        (path / f"x {word} y").mkdir(parents=True)


CONTAINERS = {
    "a.json": lambda path, text: path.write_text(json.dumps({"x": text})),
    "a.csv": lambda path, text: path.write_text(f"1,{text.upper()},2\n"),
    "stderr": lambda path, text: path.write_text(f"ERROR cannot open '{text}'\n"),
    "percent": lambda path, text: path.write_text(urllib.parse.quote(text, safe="")),
    "utf-16": lambda path, text: path.write_bytes(f"é{text}".encode("utf-16")),
    "hex": lambda path, text: path.write_text(f"ab{text.encode().hex()}cd"),
    "base64": lambda path, text: path.write_bytes(base64.b64encode(text.encode())),
    "a.npz": lambda path, text: np.savez_compressed(path, x=np.array(text)),
    "a.npy": lambda path, text: np.save(path, np.array([text])),
    "a.zlib": lambda path, text: path.write_bytes(zlib.compress(text.encode())),
    "a.gz": lambda path, text: path.write_bytes(gzip.compress(text.encode())),
    "a.zst": in_zstd,
    "a.array_record-00000-of-00001": in_array_record,
    "report.html": in_page,
    "tensorboard": in_tensorboard,
    "folders": in_names,
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_search_finds_every_word_in_every_container(name, tmp_path):
    words = {f"{kind} {w}": w for kind, ws in planted.WORDS.items() for w in ws}
    if name == "folders":
        words = {said: word for said, word in words.items() if "/" not in word}
    CONTAINERS[name](tmp_path / name, " | ".join(words.values()))
    assert set().union(*SEARCH.below(tmp_path).values()) == set(words)


def test_the_search_finds_nothing_in_noise():
    noise = np.random.default_rng(0).bytes(1 << 20)
    digits = " ".join(map(repr, np.random.default_rng(0).random(50_000)))
    assert not SEARCH.in_bytes(noise) | SEARCH.in_bytes(digits.encode())


def test_a_painted_mark_is_in_a_dataset_only_where_it_may_be(registry, tmp_path):
    assert max(likenesses(prepare(registry, tmp_path))) < 0.75
    path = prepare(registry, tmp_path, allow=(*planted.ALLOW, "burned_in"))
    assert planted.flagged_rows(registry) <= rows_of(path)
    likeness = sorted(likenesses(path), reverse=True)
    assert likeness[0] > 0.95 and likeness[2] < 0.75


def rows_of(path: Path) -> set[int]:
    rows = (path / ledger.AUDIT_FILE).read_text().splitlines()[1:]
    refused = (path / ledger.QUARANTINE_FILE).read_text().splitlines()[1:]
    return {int(line.split(",")[0]) for line in rows} - {
        int(line.split(",")[0]) for line in refused
    }


def likenesses(path: Path) -> list[float]:
    """How alike the painted mark is to some place of each image of a dataset."""
    mark, out = planted.mark(64), []
    for file in sorted(path.glob("*.array_record*")):
        reader = ArrayRecordReader(str(file))
        for record in reader.read_all():
            (image,) = canaries.pictures(record)
            out.append(canaries.looks_like(image, mark))
        reader.close()
    return out


# --- the whole way


def test_no_word_is_in_anything_that_a_run_writes(ran):
    written = {path.suffix or path.name for path in ran.rglob("*") if path.is_file()}
    assert {".json", ".jsonl", ".html", ".csv", ".npy", "stderr"} <= written
    assert any("array_record" in suffix for suffix in written)
    # what a library says while launch.py runs; JAX is held back by then
    assert "DEBUG:matplotlib" in (ran / "everything.log").read_text()
    assert SEARCH.below(ran) == {}


def test_the_key_is_in_nothing_that_a_run_writes(ran):
    digits = (ran.parent / "key" / "pseudonyms").read_text().strip()
    secret = canaries.Search({"key": [digits, bytes.fromhex(digits)]})
    assert secret.in_bytes(f"a {digits} b".encode())
    assert secret.below(ran) == {}


def test_a_film_with_painted_text_reaches_neither_dataset_nor_page(registry, ran):
    (path,) = (ran / "datasets/cxr_registry").glob(f"*/{versions.FEATURES}")
    assert not planted.flagged_rows(registry) & rows_of(path)
    assert max(likenesses(path)) < 0.75
    assert max(likenesses_of_page(ran / "run/report.html")) < 0.75


def likenesses_of_page(page: Path) -> list[float]:
    return [
        canaries.looks_like(image, planted.mark(min(image.shape)))
        for image in canaries.pictures(page.read_bytes())
    ]


def test_scoring_a_run_again_says_nothing(ran):
    arguments = ("--mode=evaluate", "--workdir", "run", "--data_dir", "datasets")
    process = start(ran, str(ROOT / "launch.py"), *arguments, "--verbosity=1")
    assert process.wait(300) == 0, (ran / "stderr").read_text()[-2000:]
    assert (ran / "run/evaluations").is_dir()
    evaluated = [ran / "stderr", ran / "everything.log"]
    assert not set().union(*map(SEARCH.in_file, evaluated))
    assert not SEARCH.below(ran / "run/evaluations")


@pytest.fixture
def tables(registry, tmp_path):
    """A submission about the registry's films, with columns for nobody's eyes."""
    studies = planted.rows(registry / "studies.csv")
    rows = studies[:64] + [row for row in studies if "burned" in row["image"]]
    head = ("image", "patient_id", "label", "study_date", "patient_name", "hospital")
    hospital = ("Wolkenkuckuck", *["north", "south"] * 40)
    images = [
        (r["image"], r["patient_id"], int(i % 2 > 0), r["study_date"], who, where)
        for i, (r, where) in enumerate(zip(rows, hospital, strict=False))
        for who in (f"{planted.NAME} {r['patient_id']}",)
    ]
    lesions = [(name, 1, 64, 60) for name, _, label, *_ in images if label]
    found = [(name, 60 + n % 9, 60, n / 99) for n, (name, *_) in enumerate(images)]
    files = {
        "images": [head, *images],
        "lesions": [("image", "lesion", "x", "y"), *lesions],
        "detections": [("image", "x", "y", "score"), *found],
    }
    for name, lines in files.items():
        registry_files.table(tmp_path / f"{name}.csv", lines)
    paths = {name: tmp_path / f"{name}.csv" for name in files}
    paths["detections"] = (paths["detections"],)
    return submissions.Files(**paths)


def scored(files: submissions.Files, folder: Path, out: Path) -> str:
    """What was said on the way."""
    options = score.ScoreOptions(
        hit=readings.Hit("distance", 0.2, 20.0),
        bootstrap=Bootstrap(20, 0),
        pictures=folder,
    )
    with everything_said() as said:
        score.score(files, out, options=options)
    return said.getvalue()


def test_scoring_tables_says_nothing_and_shows_no_painted_text(
    registry, tables, tmp_path
):
    said = scored(tables, registry, tmp_path / "out")
    assert not SEARCH.in_bytes(said.encode()) and not SEARCH.below(tmp_path / "out")
    page = tmp_path / "out/report.html"
    likeness = likenesses_of_page(page)
    assert len(likeness) > 5 and max(likeness) < 0.75
    assert "north" in page.read_text()  # a group of many patients is shown


def test_painted_text_that_nobody_flagged_is_found_on_the_page(
    registry, tables, tmp_path
):
    """The mark's search works on pages; and what no flag tells, nobody keeps back."""
    unflagged = Path(shutil.copytree(registry, tmp_path / "registry", symlinks=True))
    for path in unflagged.rglob("burned-*"):
        header = pydicom.dcmread(path)
        header.BurnedInAnnotation = "NO"
        header.save_as(path)
    rows = planted.rows(tables.images)
    scores = [0.999 if "burned" in row["image"] else 0.5 for row in rows]
    found = [(r["image"], 64, 60, s) for r, s in zip(rows, scores, strict=True)]
    head = ("image", "x", "y", "score")
    registry_files.table(tables.detections[0], [head, *found])
    scored(tables, unflagged, tmp_path / "out")
    assert max(likenesses_of_page(tmp_path / "out/report.html")) > 0.9


# --- failures: what is said when something is wrong


def texts_of(error: BaseException | None) -> Iterator[str]:
    """All words of an exception and of those that it came from."""
    while error is not None:
        yield f"{error} {error.args!r} {getattr(error, '__notes__', '')}"
        error = error.__cause__ or (
            None if error.__suppress_context__ else error.__context__
        )


def told(call, *arguments, **options) -> BaseException:
    """The failure of a call, none of whose words or log lines names anybody."""
    with everything_said() as said, pytest.raises((ValueError, OSError)) as caught:
        call(*arguments, **options)
    error = caught.value
    words = "\n".join([*texts_of(error), said.getvalue()])
    assert not SEARCH.in_bytes(words.encode("utf-8", "backslashreplace"))
    assert failures.message(error) == str(error)  # it is ours to tell
    assert not SEARCH.in_bytes(failures.trace(error).encode())
    return error


def test_a_registry_full_of_faults_names_rows_and_nobody(registry, tmp_path):
    error = told(prepare, registry, tmp_path, allow=())
    assert "problem(s) in the registry" in str(error)
    assert re.search(r"studies\.csv row \d+: image leaves the registry's f", str(error))
    assert not (tmp_path / "data").exists()


def test_an_audit_says_nothing(registry, tmp_path):
    out = tmp_path / "out"
    with everything_said() as said:
        audit.audit(audit.AuditOptions(registry=registry, out=out, sample=200))
    assert (out / "audit.html").exists()
    assert not SEARCH.in_bytes(said.getvalue().encode("utf-8", "backslashreplace"))
    # the one file that a person reads patients' words in
    sheet = out / label_sheet.SHEET
    assert SEARCH.in_bytes(sheet.read_bytes())
    sheet.unlink()
    assert SEARCH.below(out) == {}


def test_too_many_bad_files_name_rows_and_nobody(registry, tmp_path):
    error = told(prepare, registry, tmp_path, max_bad_share=0.01)
    assert re.search(r"studies\.csv row \d+: .*; export it again", str(error))
    assert SEARCH.below(tmp_path) == {}


def test_workers_that_take_too_long_are_told_by_row(registry, tmp_path, capfd):
    late = {"workers": 2, "timeout_s": 1e-3, "max_bad_share": 0}
    error = told(prepare, registry, tmp_path, **late)
    assert "took longer than 0.001 s, or more than" in str(error)
    assert not SEARCH.in_bytes("".join(capfd.readouterr()).encode())


def test_reports_are_read_without_a_word_of_them(registry, tmp_path):
    reports = report_text.ReportOptions(read="always", languages=("en", "de"))
    with everything_said() as said:
        reading = records.ReadingOptions(reports=reports)
        path = prepare(registry, tmp_path, reading=reading)
    assert "report" in (path / ledger.AUDIT_FILE).read_text()
    assert not SEARCH.in_bytes(said.getvalue().encode())
    assert SEARCH.below(tmp_path / "data") == {}


NAME, CELL = planted.NAME, f"Zellenkanari {planted.NAME} 17.05.1931 {planted.ID}"
HEAD = "image,patient_id,study_date,rib\n"


def excel(**parts: str) -> bytes:
    """An .xlsx file of one sheet with a date that openpyxl complains of."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["image", "patient_id", "study_date", "rib"])
    book.active.append([CELL, CELL, 1931, 1])
    book.active["C2"].number_format = "yyyy-mm-dd"
    whole, changed = io.BytesIO(), io.BytesIO()
    book.save(whole)
    with (
        canaries.zipfile.ZipFile(whole) as source,
        canaries.zipfile.ZipFile(changed, "w") as target,
    ):
        for name in source.namelist():
            text = source.read(name).decode()
            for old, new in parts.items():
                text = text.replace(old, new)
            target.writestr(name, text)
    return changed.getvalue()


TABLES = {
    "studies.csv, no header": f"{CELL},{planted.ID},2014-11-21,1\n",
    "studies.csv, two alike": f"{CELL},{CELL},image\na,b,c\n",
    "studies.csv, not UTF-8": (HEAD + f"Röntgen-Süd {CELL},1,,1\n").encode("latin-1"),
    "studies.csv, NUL": HEAD + f"{CELL}\0,1,,1\n",
    "studies.csv, a quote": HEAD + f'"{CELL}" x,{CELL},,1\n',
    "studies.csv, a long row": HEAD + f"{CELL},{CELL},,1,{CELL}\n",
    "studies.csv, a long cell": HEAD + f"{CELL * 9000},1,,1\n",
    "studies.csv, no such image": HEAD + f"{CELL}.dcm,1,,1\n",
    "studies.parquet, none": f"PAR1{CELL}PAR1".encode(),
    "studies.xlsx, none": f"PK\3\4{CELL}".encode(),
    "studies.xlsx, a date": lambda: excel(**{">1931<": f">{int(planted.ID)}<"}),
    "studies.xlsx, a number": lambda: excel(**{">1931<": f">{CELL}<"}),
    "studies.xlsx, an index": lambda: excel(**{"<v>0</v>": f"<v>{CELL}</v>"}),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_broken_table_is_told_without_a_cell(name, tmp_path):
    data = TABLES[name]() if callable(TABLES[name]) else TABLES[name]
    root = tmp_path / "registry"
    root.mkdir()
    data = data if isinstance(data, bytes) else data.encode()
    (root / name.split(",")[0]).write_bytes(data)
    told(records.read_registry, root, findings=["rib"])


REGIONS = {
    "a box of words": {"bbox": [CELL, CELL, CELL, CELL]},
    "a box of half characters": {"bbox": [f"\ud800{CELL}", 1, 2, 3]},
    "an image by half a character": {"image_id": f"\ud800{CELL}"},
    "an unknown image": {"image_id": CELL},
    "an unknown site": {"category_id": CELL},
}


@pytest.mark.parametrize("name", REGIONS)
def test_a_broken_file_of_regions_is_told_without_a_cell(name, tmp_path):
    root = registry_files.registry(tmp_path / "registry", images=2)
    (root / "regions.csv").unlink()
    box = {"image_id": 1, "category_id": 1, "bbox": [8, 12, 9, 9]} | REGIONS[name]
    names = {1: "images/000.dcm", f"\ud800{CELL}": f"\ud800{CELL}"}
    coco = {
        "images": [{"id": key, "file_name": value} for key, value in names.items()],
        "categories": [{"id": 1, "name": "rib"}],
        "annotations": [box],
    }
    (root / "regions.json").write_text(json.dumps(coco))
    told(records.read_registry, root, findings=["rib"])


def test_a_header_that_raises_is_told_by_row(tmp_path):
    """A box lies on an image whose Rows are text: pydicom's error quotes it."""
    root = registry_files.registry(tmp_path / "registry", images=2)
    data = (root / "images/000.dcm").read_bytes()
    rows = b"\x28\x00\x10\x00US\x02\x00" + struct.pack("<H", 60)
    word = b"\x28\x00\x10\x00US\x05\x00PRIVK"
    assert rows in data
    (root / "images/000.dcm").write_bytes(data.replace(rows, word))
    error = told(records.read_registry, root, findings=["rib"])
    assert "studies.csv row 2" in str(error) and "PRIVK" not in str(error)


@pytest.mark.parametrize("option", ["parts_file", "key_file"])
def test_the_wrong_file_for_an_option_is_told_without_its_content(
    option, registry, tmp_path
):
    table = Path(shutil.copy(registry / "studies.csv", tmp_path / "a.csv"))
    table.chmod(0o600)
    (tmp_path / "key").write_text("0" * 64)
    (tmp_path / "key").chmod(0o600)
    told(prepare, registry, tmp_path, **{option: table})


SUBMISSIONS = {
    "no header": (f"{CELL},{planted.ID},1\n", None),
    "labels of words": (f"image,label\n{CELL},{CELL}\n", None),
    "numbers of words": ("image,label\na,1\n", f"image,x,y,score\na,{CELL},2,3\n"),
    "unknown images": ("image,label\na,1\n", f"image,x,y,score\n{CELL},1,2,3\n"),
    "no columns": ("image,label\na,1\n", f"{CELL},1,2,3\n"),
}


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_a_broken_submission_is_told_without_a_cell(name, tmp_path):
    images, detections = SUBMISSIONS[name]
    (tmp_path / "images.csv").write_text(images)
    (tmp_path / "lesions.csv").write_text("image,lesion,x,y\n")
    (tmp_path / "found.csv").write_text(detections or "image,x,y,score\n")
    files = submissions.Files(
        images=tmp_path / "images.csv",
        lesions=tmp_path / "lesions.csv",
        detections=(tmp_path / "found.csv",),
    )
    told(submissions.read, files)


@pytest.mark.parametrize("converter", [nih_cxr14, vindr_cxr])
def test_a_broken_download_is_told_without_a_cell(converter, tmp_path):
    for folder in ("images", "train", "test", "annotations"):
        (tmp_path / folder).mkdir()
    for name in (
        *("Data_Entry_2017.csv", "BBox_List_2017.csv", "train_val_list.txt"),
        *("test_list.txt", "annotations/annotations_train.csv"),
        *("annotations/annotations_test.csv", "annotations/image_labels_train.csv"),
        "annotations/image_labels_test.csv",
    ):
        (tmp_path / name).write_text(f"{CELL},{planted.ID}\n{CELL},{CELL}\n")
    (tmp_path / f"images/{CELL}.png").write_bytes(b"")
    told(converter.convert, tmp_path)


def test_a_file_that_vanishes_is_told_without_its_path(registry, tmp_path, monkeypatch):
    """The system's own words hold the path: they are not told, and not by `trace`."""
    root = Path(shutil.copytree(registry, tmp_path / "registry", symlinks=True))
    read = records.read_registry

    def read_and_lose(*arguments, **options):
        found = read(*arguments, **options)
        found.studies[0].path.unlink()
        return found

    monkeypatch.setattr(records, "read_registry", read_and_lose)
    with pytest.raises(FileNotFoundError) as caught:
        prepare(root, tmp_path)
    assert SEARCH.in_bytes(str(caught.value).encode())  # as Python would print it
    trace = failures.trace(caught.value)
    assert "_name" in trace and "FileNotFoundError" in trace
    words = f"{failures.message(caught.value)} {trace}"
    assert not SEARCH.in_bytes(words.encode())


def test_a_killed_build_leaves_nothing_to_find(registry, tmp_path):
    out = tmp_path / "out"
    process = start(
        out,
        "data.cxr_registry.build",
        *("--registry", str(registry), "--data_dir", "data", "--side", "64"),
        *("--findings", "rib", "--key_file", "../key", "--workers", "2"),
        *("--max_bad_share", "0.5", "--allow", ",".join(planted.ALLOW)),
    )
    home = out / "data/cxr_registry"
    deadline = time.monotonic() + 60
    while not list(home.glob(".staging-*/**/*")) and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert [path.name for path in home.iterdir() if ".staging-" in path.name]
    assert SEARCH.below(out) == {}


def test_launch_shows_the_way_of_an_error_and_nobody(registry, tmp_path):
    """`--traceback` on a registry of faults."""
    (tmp_path / "config.py").write_text(CONFIG.replace("../registry", str(registry)))
    process = start(
        tmp_path / "out",
        str(ROOT / "launch.py"),
        *("--config", "../config.py", "--mode=build", "--traceback", "--verbosity=1"),
        *("--config.data.allow=()",),
    )
    assert process.wait(120) == 1
    shown = (tmp_path / "out/stderr").read_text()
    assert "problem(s) in the registry" in shown and "in read_registry" in shown
    assert SEARCH.below(tmp_path / "out") == {}
