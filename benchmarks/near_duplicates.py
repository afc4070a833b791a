"""How far apart perceptual hashes are: of different patients, and of altered images.

    python benchmarks/near_duplicates.py --registry DIR [--images 1000]

Prints percentiles of the differing bits over all pairs of images of two patients, and
for each alteration the median and the largest over every tenth image; once with the 256
coefficients of data/cxr_registry/survey/duplicates.py, once with the lowest 64 of them.
Then times the search over 65,845 hashes, each mixed bit by bit from those of two
images: as skewed as real ones, and few of them near.
"""

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

import real_films

from data.cxr_registry.dicom import reader
from data.cxr_registry.survey import duplicates

BITS = (256, 64)
REGISTRY = 65_845  # radiographs of the paper
PERCENTILES = (0, 0.001, 0.1, 1, 50)


def bits(pixels: np.ndarray) -> np.ndarray:
    """The hash as u8[256], 0 or 1, from the lowest frequency up."""
    hashed = duplicates.perceptual_hash(np.ascontiguousarray(pixels, np.float32))
    return np.unpackbits(np.frombuffer(hashed, np.uint8)).reshape(16, 16).T.ravel()


def altered(pixels: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What exports and viewers do to an image, f32[H, W] in [0, 1]."""
    rows, columns = pixels.shape
    levels = np.rint(255 * pixels).astype(np.uint8)
    _, jpeg = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, 30])
    compressed = cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE)
    assert compressed is not None
    cut = {share: (int(rows * share), int(columns * share)) for share in (0.01, 0.03)}
    marked = levels.copy()
    cv2.putText(marked, "L", (20, 60), cv2.FONT_HERSHEY_SIMPLEX, 2, 255, 4)
    turn = cv2.getRotationMatrix2D((columns / 2, rows / 2), 1, 1)
    return {
        "JPEG, quality 30": compressed / 255,
        "half the size": cv2.resize(
            pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA
        ),
        "gamma 0.7": pixels**0.7,
        "gamma 1.4": pixels**1.4,
        "another window": np.clip(1.3 * pixels - 0.15, 0, 1),
        "noise, 4 %": np.clip(pixels + rng.normal(0, 0.04, pixels.shape), 0, 1),
        "a drawn L": marked / 255,
        "turned by 1 degree": cv2.warpAffine(pixels, turn, (columns, rows)),
        **{
            f"{share:.0%} cut off each side": pixels[r : rows - r, c : columns - c]
            for share, (r, c) in cut.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1_000)
    flags = parser.parse_args()
    studies = real_films.studies(flags.registry)[: flags.images]
    patients = np.array([study.patient for study in studies])
    rng = np.random.default_rng(0)
    hashes, moved = [], {}
    for index, study in enumerate(studies):
        pixels = reader.read_radiograph(study.path).pixels
        hashes.append(bits(pixels))
        for name, other in altered(pixels, rng).items() if index % 10 == 0 else ():
            moved.setdefault(name, []).append(bits(other) != hashes[-1])
    left, right = np.triu_indices(len(hashes), 1)
    strangers = patients[left] != patients[right]
    for size in BITS:
        table = np.array(hashes)[:, :size].astype(np.int16)
        ones = table.sum(1)
        distance = (ones[:, None] + ones - 2 * table @ table.T)[left, right]
        found = np.percentile(distance[strangers], PERCENTILES)
        print(f"\n{size} bits, {strangers.sum()} pairs of two patients")
        for share, value in zip(PERCENTILES, found, strict=True):
            print(f"  {share:>6} %: {value:.0f}")
        for name, changes in moved.items():
            spent = np.array(changes)[:, :size].sum(1)
            print(f"  {name:24} median {np.median(spent):.0f}, largest {spent.max()}")
    time_search(np.array(hashes), rng)


def time_search(hashes: np.ndarray, rng: np.random.Generator) -> None:
    """Prints how long `duplicates.near` takes over a whole registry's hashes."""
    parents = hashes[rng.integers(0, len(hashes), (2, REGISTRY))]
    mixed = np.where(rng.random((REGISTRY, 256)) < 0.5, *parents)
    packed = np.packbits(mixed.reshape(-1, 16, 16).transpose(0, 2, 1), axis=-1)
    started = time.process_time()
    found = duplicates.near([one.tobytes() for one in packed])
    spent = time.process_time() - started
    print(f"\nsearch over {REGISTRY}: {spent:.1f} s of CPU, {len(found.pairs)} pairs")


if __name__ == "__main__":
    main()
