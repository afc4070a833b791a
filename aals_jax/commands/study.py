"""`--mode=study`: tables and figures of a study's page from its kept results."""

from aals_jax.commands.command_line import Command

COMMAND = Command(
    "study",
    summary="rebuilds the tables and figures of docs/study.md from its kept results",
    example="""\
python launch.py --mode=study
python launch.py --mode=study --workdir SWEEPDIR""",
)
_READ = COMMAND.group("What is read")
_SWEEP = _READ.text(
    "sweep",
    None,
    "The sweep file that describes the study, optionally with an argument of its "
    "parts. Without it: configs/sweeps/study.py.",
    placeholder="FILE[:CHOICE]",
)
_RESULTS = _READ.path(
    "results",
    None,
    "Folder of the results that are kept. Without it: docs/study/results.",
    placeholder="DIR",
)
_WORKDIR = _READ.path(
    "workdir",
    None,
    "Folder of a sweep whose finished trials are kept first. Without it nothing is "
    "added.",
    placeholder="DIR",
)
_OUT = COMMAND.group("What is written").path(
    "out",
    None,
    "The page; its tables are replaced, its text is not. Figures and results.csv lie "
    "in a folder of its name beside it. Without it: docs/study.md.",
)


def call() -> None:
    from aals_jax.study import page

    folder = _RESULTS.value
    if folder and not folder.is_dir() and not _WORKDIR.value:
        raise ValueError(f"--results={folder}: there is no such folder")
    page.run(_SWEEP.value, _RESULTS.value, _OUT.value, _WORKDIR.value)
