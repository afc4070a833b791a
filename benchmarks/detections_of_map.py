"""How a run's maps become detections, and what each way finds: a table.

    python launch.py --config configs/rib.py --config.phantom.difficulty=easy \
        --workdir RUN
    python benchmarks/detections_of_map.py RUN [--model teacher] [--split test]

`peaks` are local ones; `suppression` takes the highest pixel, then the highest beyond
its reach, and so on. A lesion that is missed although the map is above one half at its
centre shares its hill with another one. Nothing is trained.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from aals_jax.evaluation import model_maps  # noqa: E402
from aals_jax.metrics import counts, detection, froc  # noqa: E402
from aals_jax.report import markdown  # noqa: E402
from aals_jax.runs import evaluate  # noqa: E402

HEAD = ("detections", "froc_count", "missed lesions", "missed, map > 1/2 at centre")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--model", default="teacher")
    parser.add_argument("--split", default="test")
    parser.add_argument("--data_dir", type=Path, default=Path("runs/datasets"))
    options = parser.parse_args()
    choice = evaluate.ModelChoice(
        options.run, options.model, checkpoint="best", split=options.split
    )
    _, evaluator, model = evaluate.open_run(choice, ConfigDict, options.data_dir)
    prediction = evaluator.predict(model, options.split)
    truth = model_maps.truth_of(evaluator.table(options.split))
    rows = truth.judged_rows
    high = np.concatenate(
        [
            counts.values_at_centers(prediction.maps[i], truth.lesions[i], None) > 0.5
            for i in rows
        ]
    )
    lines = []
    for name in detection.FINDERS:
        detecting = dataclasses.replace(evaluator.detecting, detections=name)
        reading = model_maps.read_prediction(prediction, truth, detecting=detecting)
        value = float(froc.froc_score(reading.count, froc.COUNT_LIMITS))
        missed = ~np.isfinite(reading.match.lesion_score)
        shares = missed.mean(), (missed & high).mean()
        lines.append([name, f"{value:.3f}", *(f"{v:.1%}" for v in shares)])
    print(markdown.table(HEAD, lines))


if __name__ == "__main__":
    main()
