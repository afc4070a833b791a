"""Time and memory of an audit of 65,845 rows, with and without pixels.

    python benchmarks/audit_scale.py [--rows 65845] [--folder DIR] [--modes ...]

Writes a registry of small drawn pictures (diagnosis codes, a report a row of 8 to 10
sentences, boxes on one image in ten, half as many patients as images), then runs
`launch.py --mode=audit` on it as a process of its own, once for each mode:

    tables     codes, boxes, checks; no pixels, reports left
    reports    the same, and every report read (--reports=always)
    pixels     the same as `tables`, and every picture

and prints wall time, CPU time of all its processes, and the largest memory: of the
process itself, and of it with all its workers at one moment (shared pages counted in
each). Needs psutil.
"""

import argparse
import csv
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import psutil

ROOT = Path(__file__).parent.parent
MODES = {
    "tables": ("--nopixels", "--reports=never"),
    "reports": ("--nopixels", "--reports=always"),
    "pixels": ("--pixels", "--reports=never"),
}
CODES = ("S22.41XA", "S42.021A", "807.03", "J18.9", "I10", "E11.9", "S22.9XXA", "")
FINDINGS = (
    "Fracture of the {side} {number}th rib.",
    "No rib fracture on the {side} down to the {number}th rib.",
    "Old healed fracture of the {side} {number}th rib.",
    "The {side} clavicle is fractured, {number} mm of displacement.",
)
NEUTRAL = (
    "The lungs are clear.",
    "The cardiomediastinal silhouette is within normal limits.",
    "No focal consolidation is seen.",
    "There is a small {side} pleural effusion of {number} mm.",
    "No pneumothorax.",
    "Endotracheal tube terminates {number} mm above the carina.",
    "Mild degenerative changes of the thoracic spine.",
    "{side} basilar atelectasis is unchanged over {number} days.",
    "The aorta is tortuous.",
    "A {side} chest tube is in place, {number} mm deep.",
)


def report(rng: random.Random) -> str:
    """Eight to ten sentences, most with numbers: few sentences repeat."""
    chosen = [*rng.choices(NEUTRAL, k=rng.randint(7, 9)), rng.choice(FINDINGS)]
    return "FINDINGS: " + " ".join(
        text.format(side=rng.choice(("left", "right")), number=rng.randint(2, 9_999))
        for text in chosen
    )


def write_registry(folder: Path, rows: int) -> None:
    """Studies, regions and drawn pictures of 64 x 56 pixels; the same for a number."""
    rng, pixels = random.Random(0), np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    head = ("image", "patient_id", "study_date", "diagnosis_codes", "report", "view")
    with (
        (folder / "studies.csv").open("w", newline="") as studies,
        (folder / "regions.csv").open("w", newline="") as regions,
    ):
        table, boxes = csv.writer(studies), csv.writer(regions)
        table.writerow((*head, "sex", "age"))
        boxes.writerow(("image", "site", "x0", "y0", "x1", "y1"))
        for row in range(rows):
            name = f"images/{row:06d}.png"
            coarse = pixels.integers(0, 256, (12, 12), np.uint8)
            film = cv2.resize(coarse, (56, 64), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / name), film)
            is_boxed = row % 10 == 0
            code = "S22.41XA" if is_boxed else ";".join(rng.sample(CODES, 2))
            date = f"{rng.randint(2008, 2016)}-{rng.randint(1, 12):02d}-15"
            patient = f"{rng.randrange(rows * 3 // 5):08d}"
            about = (rng.choice(("PA", "AP")), rng.choice("MF"), rng.randint(18, 95))
            table.writerow((name, patient, date, code, report(rng), *about))
            if is_boxed:
                x, y = rng.randint(0, 40), rng.randint(0, 48)
                boxes.writerow((name, "rib", x, y, x + 12, y + 10))


def measure(command: list[str]) -> tuple[float, float, float, float]:
    """Wall and CPU seconds, largest MiB of the process and of it with its children."""
    started, spent = time.monotonic(), _cpu()
    child = psutil.Popen(command, cwd=ROOT)
    alone = together = 0
    while child.poll() is None:
        try:
            own = child.memory_info().rss
            others = [worker.memory_info().rss for worker in child.children(True)]
            alone, together = max(alone, own), max(together, own + sum(others))
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.2)
    if child.returncode not in (0, 1):  # 1: faults stand
        raise SystemExit(f"the audit failed: {child.returncode}")
    wall, spent = time.monotonic() - started, _cpu() - spent
    return wall, spent, alone / 2**20, together / 2**20


def _cpu() -> float:
    """CPU seconds of all processes that ended below this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=65_845)
    parser.add_argument("--folder", type=Path, help="kept and used again; else deleted")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--workers", type=int, default=2)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = flags.folder or Path(scratch) / "registry"
        if not (folder / "regions.csv").exists():
            write_registry(folder, flags.rows)
        out = Path(scratch) / "audit"
        print("mode       wall s   CPU s  MiB alone  MiB with workers  images  faults")
        for mode in flags.modes:
            command = [sys.executable, "launch.py", "--mode=audit", *MODES[mode]]
            command += [f"--registry={folder}", f"--out={out}"]
            wall, spent, alone, together = measure(
                [*command, f"--workers={flags.workers}"]
            )
            found = json.loads((out / "audit.json").read_text())
            images, faults = found["table"]["images"], len(found["faults"])
            print(
                f"{mode:8}  {wall:7.1f}  {spent:6.1f}  {alone:9.0f}  {together:16.0f}  "
                f"{images:6}  {faults:6}",
                flush=True,
            )


if __name__ == "__main__":
    main()
