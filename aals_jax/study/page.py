"""A study's page from its kept results: every table and figure by one command.

    python launch.py --mode=study                      rebuilds docs/study.md
    python launch.py --mode=study --workdir SWEEPDIR   keeps what has finished, before

Neither data nor devices are needed, and the same results give the same bytes.
"""

from pathlib import Path

from aals_jax.report import study_blocks
from aals_jax.runtime import files, log
from aals_jax.study import (
    blocks,
    facts,
    kept,
    plan,
)
from aals_jax.study.block import Part

FILE = "configs/sweeps/study.py"
PAGE = Path("docs/study.md")
RESULTS = Path("docs/study/results")


def run(
    file: str | None = None,
    results_folder: Path | None = None,
    page: Path | None = None,
    workdir: Path | None = None,
) -> None:
    """Keeps what is new, then writes figures, results.csv and the blocks of the page.

    Args:
      file: the sweep file, with PARTS; default: FILE.
      results_folder: of what is kept; default: RESULTS.
      page: Markdown; figures and CSV lie in a folder of its name beside it; begun from
        a template where it is missing. Default: PAGE.
      workdir: of a sweep whose finished trials are to be kept; None: nothing is added.

    Raises:
      ValueError: the page's blocks are at fault, kept results differ from the sweep's,
        or trials can't be paired; the page is as it was then.
    """
    page, results_folder = page or PAGE, results_folder or RESULTS
    study = plan.load(file or FILE)
    if workdir:
        count = kept.keep(study.trials.values(), workdir, results_folder)
        log.info("kept: %d new trials", count)
    all_of = Part(
        study,
        kept.read_all(results_folder),
        kept.read_all(results_folder / kept.REPEATS),
    )
    made = blocks.blocks(all_of)
    folder = page.with_suffix("")
    # bytes: line ends stay as they are
    text = page.read_bytes().decode() if page.exists() else study_blocks.template()
    filled = study_blocks.fill(
        text,
        {name: block.markdown(folder.name) for name, block in made.items()},
        file=page.name,
    )
    if absent := sorted(made.keys() - set(study_blocks.names(text))):
        log.info("blocks that %s lacks: %s", page, ", ".join(absent))
    folder.mkdir(parents=True, exist_ok=True)
    for block in made.values():
        for name, (_, svg) in block.figures.items():
            files.write_text(folder / name, svg)
    table = facts.as_csv(all_of)
    files.write_text(folder / "results.csv", table)
    files.write_text(page, filled)
    known = sum(name in all_of.results for name in study.trials)
    log.info("%d of %d trials; written: %s", known, len(study.trials), page)
