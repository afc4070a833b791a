"""`--mode=plan`: memory, work and traffic of a config on a machine one doesn't have."""

import signal

from aals_jax.commands import config_flag
from aals_jax.commands.command_line import Command

COMMAND = Command(
    "plan",
    summary="compiles a config's steps for a TPU that is not there, and says what fits",
    example="""\
python launch.py --mode=plan --config configs/clavicle.py:paper --topology v5e:4x4
python launch.py --mode=plan --config configs/clavicle.py:paper \\
    --topologies v5e:2x2,v5e:4x4,v6e:4x4 --out runs/plan
python launch.py --mode=plan --config configs/clavicle.py --topology local""",
    required=("config",),
)
_ASKED = COMMAND.group("What to plan")
_CONFIG = config_flag.define(
    _ASKED,
    "The config file, as in --mode=run; each of its fields is a flag as well, such as "
    "--config.batch.region=16. No data are read.",
)
_TOPOLOGY = _ASKED.text(
    "topology",
    None,
    "A TPU that needn't be there, by type and chips. v5e or v6e: 1x1, 2x2, 2x4, 4x4, "
    "4x8, 8x8, 8x16, 16x16. v5p: 2x2x1, 2x2x2, 2x2x4, 2x4x4, 4x4x4, 4x4x8, 4x8x8, "
    "8x8x8. They need libtpu (requirements/plan.txt). local: the devices at hand, on "
    "which the programs also run.",
    placeholder="v5e:4x4",
)
_TOPOLOGIES = _ASKED.words("topologies", None, "Several of them, for a table.")
_LARGEST = _ASKED.switch(
    "largest",
    False,
    "Also look for the largest batch of a device that fits, in the config's mix of "
    "images: about four more compilations.",
)
_TIMED = _ASKED.integer(
    "timed",
    5,
    "Calls of each program whose time is taken on devices at hand; 0: none is run.",
    lowest=0,
)
_DATA = COMMAND.group("What a plan can't know without the data")
_IMAGES_OF_P = _DATA.integer(
    "images_of_p",
    None,
    "Number of images of P, for methods that keep something of each.",
    lowest=1,
)
_MOST_BOXES = _DATA.integer(
    "most_boxes",
    None,
    "Boxes of the image of R that has most, for methods that predict boxes.",
    lowest=1,
)
_KEPT = COMMAND.group("Where it is kept")
_OUT = _KEPT.path("out", None, "Folder for plan.md and plan.json.", placeholder="DIR")
_CACHE = _KEPT.path(
    "cache",
    "runs/.plans",
    "Folder of what was compiled before, by the program's text and the versions.",
    placeholder="DIR",
)


def call() -> None:
    from aals_jax.report import plan as page
    from aals_jax.runs import plan
    from aals_jax.runtime import devices

    # a compilation runs in C++ and hears of no exception: Ctrl-C ends the process
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if _OUT.value:
        COMMAND.own(_OUT.value)
    devices.start_to_compile(whole_tracebacks=bool(COMMAND.values["traceback"].value))
    options = plan.Options(
        cache=_CACHE.value,
        largest=_LARGEST.value,
        timed=_TIMED.value,
        images_of_p=_IMAGES_OF_P.value,
        most_boxes=_MOST_BOXES.value,
    )
    names = [
        *([_TOPOLOGY.value] if _TOPOLOGY.value else []),
        *(_TOPOLOGIES.value or []),
    ]
    if not names:
        raise ValueError("--mode=plan needs --topology or --topologies")
    record = plan.plan(_CONFIG.value, names, options)
    if _OUT.value:
        plan.write(record, _OUT.value)
    print(page.render(record), end="")
