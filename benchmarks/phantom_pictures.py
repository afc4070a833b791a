"""Draws docs/phantom-rib.png and docs/phantom-clavicle.png: what each difficulty shows.

    python benchmarks/phantom_pictures.py --out docs
    python benchmarks/phantom_pictures.py --changes 12

For each of a few films and each difficulty, from above: the whole film with its true
boxes, the stretch around the first box as the film has it, and that stretch as the nets
of the laptop recipe see it. With `--changes N` it prints instead how much the fractures
of N films at "middle" change, with their blood and without.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from configs import base
from data.phantom import fractures
from data.phantom import registry as phantom

SEED = 21
CROP = 100  # px of a film of 384 rows, about 110 mm


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--films", type=int, default=2)
    parser.add_argument("--changes", type=int, default=0, metavar="N")
    options = parser.parse_args()
    if options.changes:
        for site in fractures.SITES:
            print_changes(site, options.changes)
        return
    for site in fractures.SITES:
        path = options.out / f"phantom-{site}.png"
        draw_sheet(site, options.films, path)
        print(path)


def draw_sheet(site: str, rows: int, path: Path) -> None:
    """Three lines of pictures for each film, one column for each difficulty."""
    config = base.get_config(site)
    height, side = config.phantom.height, config.data.side
    levels = phantom.DIFFICULTIES
    figure = Figure(figsize=(2.6 * len(levels), 7.2 * rows), dpi=70)
    FigureCanvasAgg(figure)
    axes = figure.subplots(3 * rows, len(levels), squeeze=False)
    for row in range(rows):
        for column, (name, by_site) in enumerate(levels.items()):
            broken = {site: by_site[site]}
            film = phantom.draw(SEED, row, height=height, broken=broken)
            crop = _around(film.pixels, film.boxes[site][0])
            seen = _resized(crop, side / max(film.pixels.shape))
            lines = axes[3 * row : 3 * row + 3, column]
            for axis, image in zip(lines, (film.pixels, crop, seen), strict=True):
                axis.imshow(image, cmap="gray", vmin=0, vmax=1)
                axis.set_axis_off()
            for box in film.boxes[site]:
                corner, size = box[:2], box[2:] - box[:2]
                lines[0].add_patch(
                    Rectangle(corner, *size, fill=False, color="orange", lw=0.8)
                )
            lines[0].set_title(f"{name}, {by_site[site]:g}, {film.view}", fontsize=9)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, pil_kwargs={"optimize": True})


def print_changes(site: str, films: int) -> None:
    """What fractures at "middle" change, beside the same films without any."""
    level, usual = phantom.DIFFICULTIES["middle"][site], fractures.HAEMATOMA
    for name, blood in (("whole", usual), ("without blood", {site: (0.0, 0.0)})):
        inside, outside = [], []
        for row in range(films):
            plain = phantom.draw(SEED, row, height=256, broken={})
            fractures.HAEMATOMA = blood
            film = phantom.draw(SEED, row, height=256, broken={site: level})
            fractures.HAEMATOMA = usual
            change, rest = np.abs(film.pixels - plain.pixels), film.pixels > -1
            for x0, y0, x1, y1 in film.boxes[site].round().astype(int):
                inside.append(change[y0:y1, x0:x1].mean())
                rest[y0:y1, x0:x1] = False
            outside.append(change[rest].sum() / change.sum())
        print(
            f"{site}, {name}: a pixel of a box changes by {np.mean(inside):.3f} on "
            f"average; {np.mean(outside):.0%} of a film's change is outside of boxes"
        )


def _around(pixels: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The square of CROP px round the middle of the box, moved to lie on the film."""
    middle = (box[:2] + box[2:]) / 2
    limit = np.array(pixels.shape[::-1]) - CROP
    x, y = np.clip(np.rint(middle - CROP / 2), 0, limit).astype(int)
    return pixels[y : y + CROP, x : x + CROP]


def _resized(image: np.ndarray, factor: float) -> np.ndarray:
    size = [round(n * factor) for n in image.shape[::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    main()
