"""Searches the learning rate and the weight of the term on P of one method.

    python launch.py --mode=sweep --sweep configs/sweeps/tuning.py:aals --workdir DIR

Optuna chooses 20 samples and ASHA stops the weaker two thirds of them early. Samples
are judged by the best validation AUROC; the test split plays no part. `:aals,tiny` is a
search of seconds, to see it work. **Not run at laptop scale here**; docs/sweeps.md.
"""

from aals_jax.sweeps.search import Search, Uniform
from configs import base
from configs.sweeps import tiny

SPACE = {
    "distill.learning_rate": Uniform(1e-4, 1e-2, log=True),
    "distill.weight": Uniform(0.1, 100.0, log=True),
}


def get_search(choice: str = "aals"):
    method, _, scale = (choice or "aals").partition(",")
    config = tiny.tiny() if scale == "tiny" else base.get_config("clavicle")
    config.method = method
    return Search(
        config=config,
        space=SPACE,
        samples=6 if scale == "tiny" else 20,
        algorithm="optuna",
        scheduler="asha",
    )
