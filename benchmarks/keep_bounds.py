"""Keeps the bounds of a recipe, which its run's page then shows beside its own numbers.

    python launch.py --config configs/rib.py --config.method=supervised --workdir LOW
    python launch.py --config configs/rib.py --config.method=oracle --workdir HIGH
    python benchmarks/keep_bounds.py --config configs/rib.py LOW HIGH

Both runs must be of that config but for method and seed, of one seed, one version of
the computation and the same films. Adds to aals_jax/runs/bounds.json.
"""

import argparse
import importlib.util
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from aals_jax.evaluation import result  # noqa: E402
from aals_jax.runs import bounds, identity  # noqa: E402
from aals_jax.runtime import files  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("low", type=Path, help="workdir of the run of supervised")
    parser.add_argument("high", type=Path, help="workdir of the run of oracle")
    args = parser.parse_args()
    low, high = (
        json.loads((workdir / result.RUN_FILE).read_text())
        for workdir in (args.low, args.high)
    )
    config = config_of(args.config)
    config.seed = low["seed"]
    if bounds.recipe(identity.of(config)) != bounds.recipe(low["config"]):
        told = identity.differences(low["config"], identity.of(config))
        sys.exit(f"{args.low} is not of {args.config}: " + "; ".join(told))
    name = args.config.resolve().relative_to(ROOT)
    source = (
        f"Kept from runs of {name}, seed {low['seed']}, with the methods supervised "
    )
    source += "and oracle (benchmarks/keep_bounds.py)."
    kept = json.loads(bounds.FILE.read_text()) | bounds.keep(low, high, source)
    files.write_json(bounds.FILE, kept)
    print(f"{bounds.FILE.relative_to(ROOT)}: {len(kept)} recipes")


def config_of(path: Path):
    spec = importlib.util.spec_from_file_location("config", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


if __name__ == "__main__":
    main()
