"""Draws every DICOM file of a folder as the training reads it, on one sheet.

    python -m benchmarks.dicom_contact_sheet --dicom DIR --out sheet.png

A person then looks for what no test finds: a negative (bright lungs), a chest cut
by its window, an image that lies on its side. Prints a line a file: shape, what set
the brightness, its share of pure black and white, or why it was refused.
"""

import argparse
import math
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from data.cxr_registry.dicom import reader

TILE = 320  # pixels a side
CAPTION = 22


def draw_tile(path: Path) -> tuple[np.ndarray, str]:
    """One captioned tile u8[TILE + CAPTION, TILE] and its line for the terminal."""
    tile = np.full((TILE + CAPTION, TILE), 40, np.uint8)
    try:
        image = reader.read_radiograph(path, modalities=None)
    except reader.UnreadableRadiograph as error:
        words = str(error).split()
        for row in range(0, len(words), 5):
            _write(tile, " ".join(words[row : row + 5]), CAPTION + 40 + 4 * row)
        line = f"refused: {error}"
    else:
        tile[CAPTION:] = reader.to_square(image.pixels, TILE).pixels
        black = np.mean(image.pixels <= 0)
        white = np.mean(image.pixels >= 1)
        line = (
            f"{image.modality or '-'} {image.view or '-'} {image.stored_shape} "
            f"{image.source} black {black:.1%} white {white:.1%} "
            f"spacing {image.spacing_mm} mm burned-in {image.burned_in}"
        )
    _write(tile, path.name[:40], 16)
    return tile, line


def _write(tile: np.ndarray, text: str, y: int) -> None:
    cv2.putText(tile, text, (4, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255,), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draws every DICOM file of a folder.")
    parser.add_argument("--dicom", type=Path, required=True, help="folder of .dcm")
    parser.add_argument("--out", type=Path, required=True, help="the sheet, a .png")
    flags = parser.parse_args()
    paths = sorted(flags.dicom.glob("*.dcm"))
    if not paths:
        parser.error("no .dcm file in the folder given as --dicom")
    tiles = []
    for path in paths:
        tile, line = draw_tile(path)
        tiles.append(tile)
        print(f"{path.name:36s} {line}")
    across = math.ceil(math.sqrt(len(tiles)))
    tiles += [np.full_like(tiles[0], 40)] * (-len(tiles) % across)
    rows = [np.hstack(tiles[at : at + across]) for at in range(0, len(tiles), across)]
    cv2.imwrite(str(flags.out), np.vstack(rows))


if __name__ == "__main__":
    main()
