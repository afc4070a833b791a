"""The whole way from weights to a film in the reading room, as a hospital would go it.

    python benchmarks/reading_room.py --out DIR [--pretrained FILE --backbone resnet50]

1. trains on a drawn registry, from pretrained weights where a file is given,
2. exports the model,
3. starts an Orthanc on this machine and puts other drawn films into it,
4. answers them through DICOMweb: one structured report and one capture a film,
5. fetches the reports back from the archive and reads them with highdicom,
6. draws the boxes that the reports say into the films: DIR/room.png.

Needs Orthanc with its DICOMweb plugin (`apt-get install orthanc orthanc-dicomweb`) and
requirements/sr.txt; dciodvfy (dicom3tools) checks the reports where it is installed.
The training is short, so the boxes show the way and not what a model can find. Ends
with 1 where a film has not exactly one report, a box is another one than in the film's
JSON, or dciodvfy finds an error. A second call goes on with the model of the first.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import highdicom as hd
import numpy as np
import pydicom

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from data.phantom import registry as phantom  # noqa: E402
from tests.support import orthanc  # noqa: E402

EASY = phantom.DIFFICULTIES["easy"]
OTHER_SEED = 7_001  # of the films that are answered: none of them was trained on
TRAINING = {
    "phantom.images": 400,
    "phantom.difficulty": "easy",
    "evaluation.replicates": 200,
}
TILE = 420  # px of a film on the sheet
SHOWN = 6  # films on the sheet


def main() -> None:
    flags = _flags()
    seconds: dict[str, float] = {}
    out = flags.out.resolve()
    with timed("training", seconds):
        launch(*training(flags, out))
    with timed("export", seconds):
        if not (out / "model" / "manifest.json").exists():
            launch(
                "--mode=export",
                f"--workdir={out / 'run'}",
                f"--data_dir={out / 'datasets'}",
                f"--out={out / 'model'}",
            )
    with timed("drawing", seconds):
        films = draw(out / "films", flags.films)
    shutil.rmtree(out / "archive", ignore_errors=True)
    shutil.rmtree(out / "answers", ignore_errors=True)
    (out / "archive").mkdir()
    with orthanc.running(out / "archive") as archive:
        with timed("films into the archive", seconds):
            archive.put(*films)
        with timed("answering", seconds):
            answer(archive, out)
        with timed("reports back", seconds):
            reports = fetch(archive, out / "reports")
    problems = check(films, reports, out / "answers")
    draw_sheet(films, reports, out / "room.png")
    for name, value in seconds.items():
        print(f"{name:24} {value:7.1f} s")
    boxes = sum(len(boxes_of(path)) for path in reports)
    print(f"{len(films)} films, {len(reports)} reports with {boxes} boxes")
    print(f"dciodvfy: {'run' if shutil.which('dciodvfy') else 'not installed'}")
    print(f"{out / 'room.png'}")
    if problems:
        sys.exit("\n".join(problems))


def training(flags: argparse.Namespace, out: Path) -> list[str]:
    """Flags of the run."""
    fields: dict[str, Any] = {
        **TRAINING,
        "data.dir": out / "datasets",
        "log_every": max(1, flags.steps // 6),
    }
    for stage, steps in (("pretrain", flags.steps), ("distill", flags.steps // 3)):
        fields[f"{stage}.steps"] = steps
        fields[f"{stage}.eval_every"] = fields["log_every"]
        fields[f"{stage}.warmup_steps"] = steps // 6
    if flags.pretrained:
        fields |= {
            "model.pretrained": flags.pretrained.resolve(),
            "model.backbone": flags.backbone,
            "model.width": 64,
            "model.frozen_stages": flags.frozen_stages,
        }
    return [
        f"--config={ROOT / 'configs' / f'{flags.finding}.py'}",
        f"--workdir={out / 'run'}",
        *(f"--config.{name}={value}" for name, value in fields.items()),
    ]


def launch(*arguments: str, environ: dict[str, str] | None = None) -> None:
    """Runs launch.py with its log on this terminal; ends where it fails."""
    command = [sys.executable, str(ROOT / "launch.py"), *arguments]
    code = subprocess.run(command, env={**os.environ, **(environ or {})}).returncode
    if code:
        sys.exit(f"launch.py {arguments[0]} ended with {code}")


@contextlib.contextmanager
def timed(name: str, seconds: dict[str, float]) -> Iterator[None]:
    begun = time.monotonic()
    yield
    seconds[name] = time.monotonic() - begun


def draw(folder: Path, count: int) -> list[Path]:
    """DICOM films of patients that the model has not seen."""
    options = phantom.PhantomOptions(
        images=count, seed=OTHER_SEED, height=1_024, conspicuity=EASY, prevalence=0.4
    )
    phantom.generate(folder / options.name, options)
    return sorted((folder / options.name / "images").glob("*"))


def answer(archive: orthanc.Orthanc, out: Path) -> None:
    launch(
        "--mode=predict",
        f"--model={out / 'model'}",
        f"--dicomweb={archive.url}",
        "--since=1900-01-01",
        f"--out={out / 'answers'}",
        environ={
            "AALS_DICOMWEB_USER": archive.user,
            "AALS_DICOMWEB_PASSWORD": archive.password,
        },
    )


def fetch(archive: orthanc.Orthanc, folder: Path) -> list[Path]:
    """Files of all reports that the archive has."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    paths = []
    for number, found in enumerate(archive.find("Instance", Modality="SR")):
        path = folder / f"{number:03}.dcm"
        path.write_bytes(archive.content(f"/instances/{found['ID']}/file"))
        paths.append(path)
    return paths


def check(films: Sequence[Path], reports: Sequence[Path], answers: Path) -> list[str]:
    """What is not as it must be, in words."""
    about = sorted(film_of(path) for path in reports)
    expected = sorted(str(header(path).SOPInstanceUID) for path in films)
    problems = [] if about == expected else ["not one report for each film"]
    records = [json.loads(p.read_text()) for p in (answers / "films").glob("*.json")]
    told = sorted(
        corners(box) for record in records for box in record["boxes"] if box["reported"]
    )
    read = sorted(box for path in reports for box in boxes_of(path))
    if told != read:
        problems.append("the reports' boxes are not those of the films' JSON")
    if shutil.which("dciodvfy"):
        for path in reports:
            said = subprocess.run(["dciodvfy", path], capture_output=True).stderr
            if b"Error" in said:
                problems.append(f"dciodvfy, {path.name}: {said.decode('latin-1')}")
    return problems


def header(path: Path) -> pydicom.Dataset:
    return pydicom.dcmread(path, stop_before_pixels=True)


def film_of(report: Path) -> str:
    """UID of the film that a report is about."""
    evidence = header(report).CurrentRequestedProcedureEvidenceSequence[0]
    series = evidence.ReferencedSeriesSequence[0]
    return str(series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)


def boxes_of(report: Path) -> list[tuple[float, ...]]:
    """Corners of the findings' rectangles, in pixels of the stored film."""
    content: Any = hd.sr.srread(io.BytesIO(report.read_bytes())).content
    groups = content.get_planar_roi_measurement_groups()
    found = [one.roi.value for one in groups if one.finding_type.value != "SEARCHED"]
    return [(*points.min(axis=0), *points.max(axis=0)) for points in found]


def corners(box: dict[str, float]) -> tuple[float, ...]:
    """A box of the JSON as the report stores it, in single precision."""
    return tuple(float(np.float32(box[name])) for name in ("x0", "y0", "x1", "y1"))


def draw_sheet(films: Sequence[Path], reports: Sequence[Path], path: Path) -> None:
    """The films with most boxes, drawn as the reports say."""
    by_film = {film_of(report): boxes_of(report) for report in reports}
    drawn = {film: by_film.get(str(header(film).SOPInstanceUID), []) for film in films}
    shown = sorted(films, key=lambda film: (-len(drawn[film]), film.name))[:SHOWN]
    tiles = [tile(film, drawn[film]) for film in shown]
    tiles += [np.zeros_like(tiles[0])] * (SHOWN - len(tiles))
    half = SHOWN // 2
    rows = [np.concatenate(tiles[i : i + half], axis=1) for i in (0, half)]
    cv2.imwrite(str(path), np.concatenate(rows))


def tile(film: Path, boxes: Sequence[tuple[float, ...]]) -> np.ndarray:
    """u8[TILE, TILE, 3]: a film as it is stored, with rectangles."""
    stored = pydicom.dcmread(film)
    pixels = stored.pixel_array.astype(np.float32)
    gray = (pixels - pixels.min()) / max(np.ptp(pixels), 1)
    if stored.PhotometricInterpretation == "MONOCHROME1":
        gray = 1 - gray
    scale = TILE / max(gray.shape)
    small = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    made = np.zeros((TILE, TILE, 3), np.uint8)
    height, width = small.shape
    made[:height, :width] = np.rint(small * 255).astype(np.uint8)[..., None]
    for x0, y0, x1, y1 in boxes:
        low, high = (
            (round(x * scale), round(y * scale)) for x, y in ((x0, y0), (x1, y1))
        )
        cv2.rectangle(made, low, high, (0, 220, 255), 1)
    return made


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of all that comes out")
    add("--films", type=int, default=50, help="put into the archive")
    add("--finding", choices=("rib", "clavicle"), default="rib")
    add("--steps", type=int, default=600, help="updates of stage 1, and a third in 2")
    add("--pretrained", type=Path, help="weights of a backbone, docs/pretrained.md")
    add("--backbone", default="resnet50", help="that those weights are of")
    add("--frozen_stages", type=int, default=0, help="of that backbone")
    flags = parser.parse_args()
    if orthanc.MISSING:
        parser.error(f"{orthanc.MISSING}: apt-get install orthanc orthanc-dicomweb")
    if flags.films < 1 or flags.steps < 3:
        parser.error("--films: at least 1; --steps: at least 3")
    flags.out.mkdir(parents=True, exist_ok=True)
    return flags


if __name__ == "__main__":
    main()
