"""Draws the README's picture from a finished run: film, teacher, sharpened target.

    python benchmarks/picture.py --workdir runs/clavicle --out docs/picture.png

Takes test positives whose peak in the teacher's map is between t and 0.9, where
sharpening has something to do; the box is the truth, which neither stage has seen.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from ml_collections import ConfigDict
from scipy.special import expit, logit

from aals_jax.method.sharpening import sharpen
from aals_jax.runs import evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/clavicle"))
    parser.add_argument("--data_dir", type=Path, default=Path("runs/datasets"))
    parser.add_argument("--out", type=Path, default=Path("docs/picture.png"))
    parser.add_argument("--rows", type=int, default=2)
    options = parser.parse_args()
    config, evaluator, teacher = evaluate.open_run(
        evaluate.ModelChoice(options.workdir), ConfigDict, options.data_dir
    )
    data = evaluator.data
    maps = evaluator.predict(teacher, "test").maps.astype(np.float64)
    peak = maps.reshape(len(maps), -1).max(axis=1)
    t, strength = config.distill.center, config.distill.max_strength
    boxed = (data.test.label == 1) & data.test.boxed & (peak > t + 0.05) & (peak < 0.9)
    rows = np.flatnonzero(boxed)[: options.rows]
    figure = Figure(figsize=(9.6, 3.3 * len(rows)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    split, position = data.test.split, data.test.position
    axes = figure.subplots(len(rows), 3, squeeze=False)
    for (film, before, after), i in zip(axes, rows.tolist(), strict=True):
        radiograph = data.dataset.read(str(split[i]), int(position[i]))
        logits = logit(maps[i : i + 1].clip(1e-7, 1 - 1e-7)).astype(np.float32)
        target = expit(sharpen(logits, max_strength=strength, center=t))[0]
        film.imshow(radiograph.image, cmap="gray")
        film.set_title("film and true box", fontsize=10)
        for axis, values, name in (
            (before, maps[i], f"teacher, peak {peak[i]:.2f}"),
            (after, target, f"sharpened target, peak {target.max():.2f}"),
        ):
            heat = colormaps["inferno"](values)
            heat[..., 3] = np.clip(values * 1.6, 0, 0.75)
            side = len(radiograph.image)
            axis.imshow(radiograph.image, cmap="gray")
            axis.imshow(heat, extent=(0, side, side, 0), interpolation="bilinear")
            axis.set_title(name, fontsize=10)
        for axis in (film, before, after):
            axis.set_axis_off()
            for x0, y0, x1, y1 in radiograph.boxes:
                corner = (x0 - 0.5, y0 - 0.5)
                axis.add_patch(
                    Rectangle(corner, x1 - x0, y1 - y0, fill=False, edgecolor="cyan")
                )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out)
    print(f"{options.out}: {len(rows)} films")


if __name__ == "__main__":
    main()
