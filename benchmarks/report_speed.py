"""How long the reports of a whole registry take to read: 65,845 on two cores.

    python benchmarks/report_speed.py [--reports 65845] [--workers 2]

Draws reports of a request, 8 to 14 sentences of findings and 1 to 3 of an impression,
with sides, ribs, sizes and numbers drawn anew for each, so that most of the sentences
that speak of bones occur once. Prints wall time and rate, as an audit reads them
(`report_text.read_all`).
"""

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from data.cxr_registry.labels import report_text

FINDINGS = ("rib", "clavicle")
REGISTRY = 65_845  # radiographs of the paper
REQUESTS = (
    "{age}-year-old {sex} after a fall, evaluate for rib fracture.",
    "Motor vehicle collision, {side} chest pain.",
    "Shortness of breath, {age} years old.",
    "Follow-up of {side} pneumothorax.",
)
CHEST = (
    "The lungs are clear.",
    "The cardiomediastinal silhouette is within normal limits.",
    "No focal consolidation is seen in the {side} lung.",
    "There is a small {side} pleural effusion, {size} mm in depth.",
    "No pneumothorax.",
    "Endotracheal tube terminates {size} mm above the carina.",
    "Mild degenerative changes of the thoracic spine.",
    "A {size} mm nodule projects over the {nth} anterior rib.",
    "Bibasilar atelectasis, {side} greater than the other side, is unchanged.",
    "The aorta is tortuous and calcified.",
    "A {side} chest tube ends at the level of the {nth} rib.",
    "Heart size is at the upper limit of normal, cardiothoracic ratio 0.{age}.",
)
BONES = (
    "There are displaced fractures of the {side} {nth} and {other} ribs.",
    "No acute, displaced rib fracture on the {side}.",
    "Old healed {side} {nth} rib fracture with callus, unchanged.",
    "Possible nondisplaced fracture of the {side} lateral {nth} rib.",
    "Comminuted {side} clavicle fracture with {size} mm of overriding.",
    "No pneumothorax, fracture of the {side} {nth} rib, or effusion.",
    "The visualized osseous structures are intact.",
    "No evidence of acute osseous abnormality of the {side} hemithorax.",
    "Plate and {size} mm screws along the {side} clavicle.",
    "Compression deformity of T{age}, of uncertain age.",
)
NTH = ("third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def report(draw: random.Random) -> str:
    """One report of about 700 characters."""

    def say(pattern: str) -> str:
        return pattern.format(
            age=draw.randint(18, 95),
            sex=draw.choice(("male", "female")),
            side=draw.choice(("left", "right")),
            size=draw.randint(2, 60),
            nth=draw.choice(NTH),
            other=draw.choice(NTH),
        )

    findings = draw.choices(CHEST, k=draw.randint(6, 11))
    findings += draw.choices(BONES, k=draw.randint(2, 3))
    impression = draw.choices([*CHEST, *BONES], k=draw.randint(1, 3))
    return "\n".join(
        (
            "INDICATION: " + say(draw.choice(REQUESTS)),
            "COMPARISON: None.",
            "FINDINGS: " + " ".join(map(say, findings)),
            "IMPRESSION: " + " ".join(map(say, impression)),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time of reading reports.")
    parser.add_argument("--reports", type=int, default=REGISTRY)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    flags = parser.parse_args()
    draw = random.Random(0)
    reports = [report(draw) for _ in range(flags.reports)]
    size = sum(map(len, reports)) / len(reports)
    start = time.perf_counter()
    labels = report_text.read_all(
        set(reports),
        FINDINGS,
        options=report_text.ReportOptions(),
        workers=flags.workers,
    )
    spent = time.perf_counter() - start
    print(
        f"{flags.reports:,} reports of {size:.0f} characters ({len(labels):,} differ) "
        f"in {spent:.1f} s with {flags.workers} processes: "
        f"{flags.reports / spent:.0f} a second"
    )


if __name__ == "__main__":
    main()
