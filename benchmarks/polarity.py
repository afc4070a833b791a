"""How often the search for negatives errs, on films whose polarity is right.

    python benchmarks/polarity.py --registry DIR

Each film is looked at as it is and as its negative, and both also as other exports show
them. Prints how many films are taken for negatives and how many negatives are missed,
with 95 % intervals (Clopper-Pearson); of films turned upside down, which are no
negatives, how many are flagged. Films whose header is wrong count as errors.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent.parent))

import real_films

from data.cxr_registry.dicom import reader
from data.cxr_registry.survey import polarity

SIDE = 256  # pixels: more than the search looks at

EXPORTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda film: film,
    "gamma 2.2": lambda film: film**2.2,
    "gamma 0.5": lambda film: film**0.5,
    "another window": lambda film: np.clip(1.6 * film - 0.3, 0, 1),
    "a tenth cut off each side": lambda film: film[25:-25, 25:-25],
    "a black border": lambda film: np.pad(film, ((0, 0), (60, 40))),
    "a white border": lambda film: np.pad(film, ((0, 0), (60, 40)), constant_values=1),
    "mirrored": lambda film: film[:, ::-1],
    "upside down": lambda film: film[::-1],
}


def rate(errors: int, films: int) -> str:
    """Errors among films, with the interval of their share."""
    low, high = stats.binomtest(errors, films).proportion_ci(method="exact")
    return f"{errors} of {films} [{low:.2%}, {high:.2%}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", type=Path, required=True)
    flags = parser.parse_args()
    studies = real_films.studies(flags.registry)
    films = [
        cv2.resize(
            reader.read_radiograph(study.path).pixels,
            (SIDE, SIDE),
            interpolation=cv2.INTER_AREA,
        )
        for study in studies
    ]
    for name, export in EXPORTS.items():
        flagged = [polarity.is_negative(export(film)) for film in films]
        found = [polarity.is_negative(export(1 - film)) for film in films]
        print(f"{name}: films flagged {rate(sum(flagged), len(films))}", end="; ")
        print(f"negatives missed {rate(found.count(False), len(films))}")


if __name__ == "__main__":
    main()
