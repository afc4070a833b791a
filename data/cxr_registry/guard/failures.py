"""What may be shown of an exception: our own words, and where it was raised.

The text of a foreign exception may quote what caused it: a path below images/, a cell,
a value of a header. So a text is shown only if a `raise` statement of this project
composed it, or if a library raised it that sees nothing but arrays and settings. Of any
other exception the type and the place are shown; values of variables never are.
"""

import dis
import errno
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from types import TracebackType

_OURS = frozenset({"aals_jax", "configs", "data", "launch", "__main__"})
_SEE_NO_PATIENT = frozenset(
    {"absl", "flax", "jax", "jaxlib", "ml_collections", "optax", "orbax"}
)
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"

_FOLDERS = "--workdir, --out, --config.data.dir"
_FULL = "no space is left where this command writes: free some, or take another folder"
_CANNOT_WRITE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: "a folder that this command writes to is read-only: take another one",
}


def message(error: BaseException) -> str:
    """One line for whoever started the program.

    >>> message(FileNotFoundError(2, "No such file or directory", "images/SMITH.dcm"))
    'FileNotFoundError (No such file or directory)'
    >>> message(OSError(28, "No space left on device")).partition(":")[0]
    'no space is left where this command writes'
    """
    if _is_ours(error):
        return str(error)
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        return f"{_CANNOT_WRITE[error.errno]} ({_FOLDERS}); the same command goes on"
    kind = type(error).__name__
    if isinstance(error, OSError) and error.errno:
        kind += f" ({os.strerror(error.errno)})"
    place = next((name for name in reversed([*_places(error)]) if name), "")
    return f"{kind} in {place}" if place else kind


def trace(error: BaseException) -> str:
    """The exceptions of a chain as Python prints them, without the foreign texts."""
    chain: list[tuple[BaseException, str]] = []
    link, visited = "", set[int]()
    current: BaseException | None = error
    while current is not None and id(current) not in visited:
        visited.add(id(current))
        chain.append((current, link))
        if current.__cause__ is not None:
            current, link = current.__cause__, _CAUSE
        elif current.__suppress_context__:
            current = None
        else:
            current, link = current.__context__, _CONTEXT
    parts = []
    for exception, follows in reversed(chain):
        parts += ["Traceback (most recent call last):\n"]
        parts += traceback.format_tb(exception.__traceback__)
        text = (
            str(exception) if _is_ours(exception) else "(its text may name a patient)"
        )
        parts += [f"{type(exception).__qualname__}: {text}\n"]
        parts += [f"\n{follows}\n\n"] if follows else []
    return "".join(parts)


def guard() -> None:
    """From now on uncaught exceptions of all threads are printed by `trace`."""

    def print_trace(error: BaseException | None) -> None:
        if error is not None:
            sys.stderr.write(trace(error))

    sys.excepthook = lambda kind, error, place: print_trace(error)
    threading.excepthook = lambda hook: print_trace(hook.exc_value)
    sys.unraisablehook = lambda hook: print_trace(hook.exc_value)


def _is_ours(error: BaseException) -> bool:
    frames = [*_frames(error)]
    if not frames:  # never raised, or in another process
        return False
    last = frames[-1]
    root = last.tb_frame.f_globals.get("__name__", "").split(".")[0]
    if root in _SEE_NO_PATIENT:
        return True
    # int(cell) fails in our code too, but with Python's words, which quote the cell
    opcode = last.tb_frame.f_code.co_code[last.tb_lasti]
    return root in _OURS and dis.opname[opcode] == "RAISE_VARARGS"


def _frames(error: BaseException) -> Iterator[TracebackType]:
    place = error.__traceback__
    while place is not None:
        yield place
        place = place.tb_next


def _places(error: BaseException) -> Iterator[str]:
    """Module, function and line of each frame; "" for code that is not ours."""
    for frame in _frames(error):
        name = frame.tb_frame.f_globals.get("__name__", "")
        is_ours = name.split(".")[0] in _OURS
        function = frame.tb_frame.f_code.co_name
        yield f"{name}.{function}, line {frame.tb_lineno}" if is_ours else ""
