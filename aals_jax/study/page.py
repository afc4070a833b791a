"""A study's pages from its kept results: every table and figure by one command.

    python launch.py --mode=study                      rebuilds docs/study.md
    python launch.py --mode=study --workdir SWEEPDIR   keeps finished trials first

Neither data nor devices are needed, and the same results give the same bytes.
"""

from pathlib import Path

from aals_jax.report import markdown
from aals_jax.runtime import files, log
from aals_jax.study import blocks, facts, headroom, kept, plan
from aals_jax.study.kept import Study

FILE = "configs/sweeps/study.py"
PAGE = Path("docs/study.md")
RESULTS = Path("docs/study/results")
LAYOUTS = {"methods": blocks.LAYOUT, "headroom": headroom.LAYOUT}


def run(
    file: str | None = None,
    results_folder: Path | None = None,
    page: Path | None = None,
    workdir: Path | None = None,
) -> None:
    """Keeps what is new, then writes figures, results.csv and the blocks of all pages.

    Args:
      file: the sweep file, with PARTS; default: FILE.
      results_folder: of what is kept; default: RESULTS.
      page: the main page, Markdown. The pages of the parts, figures and CSV lie in a
        folder of its name beside it. Pages that are missing are begun with their blocks
        and no prose. Default: PAGE.
      workdir: of a sweep whose finished trials are to be kept; None: nothing is added.

    Raises:
      ValueError: a page's blocks are at fault, kept results differ from the sweep's, or
        trials can't be paired; no page is changed then.
    """
    page, results_folder = page or PAGE, results_folder or RESULTS
    planned = plan.load(file or FILE)
    if workdir:
        count = kept.keep(planned, workdir, results_folder)
        log.info("kept: %d new trials", count)
    study = Study(
        planned,
        kept.read_all(results_folder),
        kept.read_all(results_folder / kept.REPEATS),
    )
    layout = LAYOUTS[planned.layout]
    blocks_by_name = layout.make_blocks(study)
    folder = page.with_suffix("")
    pages = {page: layout.main}
    pages |= {folder / f"{name}.md": begun for name, begun in layout.pages.items()}
    texts = {path: _read(path, begun.template) for path, begun in pages.items()}
    filled = {
        path: markdown.fill(
            text,
            {
                name: block.as_markdown(f"{folder.name}/" if path == page else "")
                for name, block in blocks_by_name.items()
            },
            file=path.name,
        )
        for path, text in texts.items()
    }
    present = {name for text in texts.values() for name in markdown.block_names(text)}
    if absent := sorted(blocks_by_name.keys() - present):
        log.info("blocks that no page has: %s", ", ".join(absent))
    folder.mkdir(parents=True, exist_ok=True)
    for block in blocks_by_name.values():
        for name, (_, svg) in block.figures.items():
            files.write_text(folder / name, svg)
    files.write_text(folder / "results.csv", facts.as_csv(study))
    for path, text in filled.items():
        files.write_text(path, text)
    done = sum(name in study.results for name in planned.trials)
    total = len(planned.trials)
    log.info("%d of %d trials; written: %s and %s/", done, total, page, folder)


def _read(path: Path, template: str) -> str:
    """The page as it is; bytes, so that line ends stay as they are."""
    return path.read_bytes().decode() if path.exists() else template
