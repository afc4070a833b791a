"""The command line that all modes share: groups of flags, help, errors in one line.

`main` reads `--mode` first and imports that mode's module alone, so that each mode has
its own flags and pays for nothing that another mode needs.
"""

import contextlib
import difflib
import importlib
import logging
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from absl import app, flags
from absl import logging as absl_logging

if TYPE_CHECKING:
    from aals_jax.runtime import hosts

PROGRAM = "launch.py"
MODES = (
    *("run", "build", "evaluate", "score", "audit", "sweep", "study", "plan"),
    *("power", "export", "predict", "worklist"),
)
EXIT_USAGE = 2  # as argparse and most programs have it; 1 is a mode's own failure
EXIT_STOPPED = 75  # runtime.stopping.Stopped; 3 is locks.Busy
_HELP = {"--help", "-help", "-h", "--helpshort", "--helpfull", "-?", "--?"}
_WIDTH = 88  # columns of the help
_INDENT = 28  # columns that the name of a flag takes there
_LOG_TOO_MUCH = ("absl", "jax", "openjpeg")


class UsageError(Exception):
    """A command line that can't be run; its text says what to do instead."""

    exit_code = EXIT_USAGE


class Command:
    """One mode: what it is for, and its flags. Its module's `call()` runs it."""

    def __init__(
        self,
        mode: str,
        *,
        summary: str,
        example: str,
        required: Sequence[str] = (),
        alone: Sequence[str] = (),
    ):
        """
        Args:
          mode: the value of `--mode`, and the name of the module.
          summary: what the mode does, in a line.
          example: a command that works, given the files that it names.
          required: names of flags that must be given.
          alone: flags of which one is enough, whatever is required.
        """
        self.mode = mode
        self.summary = summary
        self.example = example
        self.required = tuple(required)
        self.alone = tuple(alone)
        self.on_failure: Callable[[str], None] = lambda text: None
        self.end: Callable[[int], NoReturn] = sys.exit  # with an exit code, not 0
        self._held = contextlib.ExitStack()
        self.values = flags.FlagValues()
        self.groups: list[Group] = []
        self.checks: list[Callable[[], Sequence[str]]] = []
        self._general = Group("In every mode", self.values)
        self._general.choice(
            "mode", MODES, "What to do.", default="run", placeholder="MODE"
        )
        self._general.switch(
            "traceback", False, "After an error, show where in the code it came from."
        )
        self._general.integer(
            "verbosity",
            -1,
            "Log level of absl: -1 warning, 0 info, 1 debug.",
        )
        self._general.switch(
            "wait",
            False,
            "Where another process works in the folder that this one writes into: wait "
            "for its end instead of stopping with exit code 3.",
        )
        self._general.switch("help", False, "Show the flags of the mode, and end.")

    def group(self, title: str) -> "Group":
        """A new heading of the help; flags are defined through it."""
        group = Group(title, self.values)
        self.groups.append(group)
        return group

    def start_devices(self, joining: "hosts.Joining | None" = None) -> None:
        """Sets JAX up for a mode that uses devices, and takes over signals.

        Args:
          joining: how the other hosts are joined; None: the mode runs alone.
        """
        from aals_jax.runtime import devices, hosts

        joining = joining or hosts.ALONE
        devices.start(whole_tracebacks=bool(self.values["traceback"].value))
        hosts.join(joining)
        hosts.announce(joining)
        self.take_signals()

    def take_signals(self) -> None:
        """From now on SIGTERM and Ctrl-C end the mode with one line and EXIT_STOPPED;
        to be called once, from the main thread."""
        from aals_jax.runtime import stopping

        stopping.start()
        self.on_failure, self.end = stopping.fail, stopping.end

    def own(self, folder: Path, *, private: bool = False) -> None:
        """Takes the folder that the mode writes into, until the mode ends.

        Args:
          folder: made where it is missing.
          private: a folder that is made is its owner's alone, since it shows films.

        Raises:
          Busy: another process works there, and --wait was not given.
        """
        from data.cxr_registry.guard import locks

        wait = bool(self.values["wait"].value)
        mode = 0o700 if private else 0o777
        self._held.enter_context(locks.owned(folder, wait=wait, mode=mode))

    def release(self) -> None:
        """Gives back what `own` took."""
        self._held.close()

    def check(self, faults: Callable[[], Sequence[str]]) -> Callable:
        """Decorates a function that tells what is wrong with the flags together."""
        self.checks.append(faults)
        return faults

    def unread(
        self, flag_holders: Sequence[flags.FlagHolder[Any]], *, when: bool, needs: str
    ) -> list[str]:
        """What is wrong with flags that were given, and that nothing would read.

        Args:
          flag_holders: flags that are read under one condition.
          when: whether it holds.
          needs: what the condition is, in words: "--lesions, which are missing".
        """
        return [
            f"--{flag.name} is for {needs}"
            for flag in flag_holders
            if flag.present and not when
        ]

    def help(self) -> str:
        """The help of this mode: an example, then its flags under their headings."""
        title = f"{PROGRAM} --mode={self.mode} {self.summary}."
        lines = [textwrap.fill(title, _WIDTH, break_on_hyphens=False), ""]
        lines += textwrap.indent(self.example, "    ").splitlines()
        for group in (*self.groups, self._general):
            lines += ["", group.title]
            for name, (placeholder, help) in group.described.items():
                needed = name in self.required
                text = help + _default_in_words(self.values[name], needed=needed)
                lines += _help_lines(self.values[name], placeholder, text)
        return "\n".join(lines) + "\n"


class Group:
    """Flags under one heading of a command's help."""

    def __init__(self, title: str, values: flags.FlagValues):
        self.title = title
        # flag -> what stands for its value in the help, and the help
        self.described: dict[str, tuple[str, str]] = {}
        self.values = values

    def text(
        self, name: str, default: str | None, help: str, *, placeholder: str = "TEXT"
    ) -> flags.FlagHolder[Any]:
        self.described[name] = (placeholder, help)
        return flags.DEFINE_string(name, default, help, flag_values=self.values)

    def path(
        self, name: str, default: str | None, help: str, *, placeholder: str = "FILE"
    ) -> flags.FlagHolder[Any]:
        """A flag whose value is a Path, or None."""
        self.described[name] = (placeholder, help)
        return flags.DEFINE(_PathParser(), name, default, help, flag_values=self.values)

    def words(
        self, name: str, default: list[str] | None, help: str
    ) -> flags.FlagHolder[Any]:
        """A flag whose value is a list of words, separated by commas."""
        self.described[name] = ("A,B", help)
        return flags.DEFINE_list(name, default, help, flag_values=self.values)

    def choice(
        self,
        name: str,
        choices: Collection[str],
        help: str,
        *,
        default: str,
        placeholder: str = "",
    ) -> flags.FlagHolder[Any]:
        self.described[name] = (placeholder or "|".join(choices), help)
        return flags.DEFINE_enum(
            name, default, list(choices), help, flag_values=self.values
        )

    def integer(
        self, name: str, default: int | None, help: str, *, lowest: int | None = None
    ) -> flags.FlagHolder[Any]:
        self.described[name] = ("N", help)
        return flags.DEFINE_integer(
            name, default, help, lower_bound=lowest, flag_values=self.values
        )

    def number(
        self,
        name: str,
        default: float | None,
        help: str,
        *,
        lowest: float | None = None,
    ) -> flags.FlagHolder[Any]:
        self.described[name] = ("X", help)
        return flags.DEFINE_float(
            name, default, help, lower_bound=lowest, flag_values=self.values
        )

    def switch(self, name: str, default: bool, help: str) -> flags.FlagHolder[Any]:
        """A flag that is given without a value: --name, or --noname."""
        self.described[name] = ("", help)
        return flags.DEFINE_bool(name, default, help, flag_values=self.values)


class _PathParser(flags.ArgumentParser):
    syntactic_help = "a path"

    def parse(self, argument: Any) -> Path:
        if not argument:
            raise ValueError("the path is empty")
        return Path(argument)


def _default_in_words(flag: flags.Flag, *, needed: bool) -> str:
    default = flag.default
    if needed:
        return " Required."
    if default is None or default is False or default == []:
        return ""
    if default is True:
        return " Default: on."
    words = ",".join(default) if isinstance(default, list) else f"{default}"
    return f" Default: {words}."


def _help_lines(flag: flags.Flag, placeholder: str, text: str) -> Iterator[str]:
    name = f"[no]{flag.name}" if flag.boolean and flag.default else flag.name
    head = f"  --{name} {placeholder}".rstrip()
    width = _WIDTH - _INDENT
    rest = textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)
    if len(head) < _INDENT:
        head = head.ljust(_INDENT) + rest.pop(0)
    yield head
    yield from (" " * _INDENT + line for line in rest)


def load(mode: str) -> Any:
    """The module of a mode, with its COMMAND and call(); no other one is imported."""
    return importlib.import_module(f"aals_jax.commands.{mode}")


def mode_of(arguments: Sequence[str]) -> str:
    """The mode that a command line names; `run` where it names none.

    Raises:
      UsageError: there is no such mode.
    """
    finder = flags.FlagValues()
    flags.DEFINE_string("mode", "run", "", flag_values=finder)
    finder.set_gnu_getopt(True)  # looks past values that follow after a blank
    try:
        finder([PROGRAM, *arguments], known_only=True)
    except flags.Error as error:
        raise UsageError(str(error)) from None
    mode = finder["mode"].value
    if mode not in MODES:
        raise UsageError(
            f"--mode={mode}: there is no such mode; use one of {', '.join(MODES)}"
        )
    return mode


def parse(command: Command) -> None:
    """Gives a command's flags their values from sys.argv.

    Raises:
      UsageError: a flag that is not the mode's, a value that it can't have, a missing
        flag, or one that nothing would read.
    """
    # sys.argv, since ml_collections looks there for the fields of a config
    try:
        rest = command.values(sys.argv)[1:]
    except flags.UnrecognizedFlagError as error:
        raise UsageError(_unknown_flag(command, error.flagname)) from None
    except flags.Error as error:
        text = " ".join(str(error).split())
        text = text.replace(
            "invalid literal for int() with base 10", "a whole number is needed, not"
        )
        raise UsageError(text) from None
    if rest:
        raise UsageError(
            f"{' '.join(rest)}: not a flag, and no flag before it takes a value; "
            f"see --mode={command.mode} --help"
        )
    missing = [f"--{n}" for n in command.required if not command.values[n].value]
    if any(command.values[name].value for name in command.alone):
        return
    if missing:
        raise UsageError(
            f"--mode={command.mode} needs {', '.join(missing)}; "
            f"see --mode={command.mode} --help"
        )
    faults = [fault for check in command.checks for fault in check()]
    if faults:
        text = "; ".join(faults)
        raise UsageError(f"{text}; see --mode={command.mode} --help")


def _unknown_flag(command: Command, name: str) -> str:
    """What to do about a flag that the mode does not have."""
    others = [load(mode).COMMAND for mode in MODES if mode != command.mode]
    owners = [f"--mode={other.mode}" for other in others if _has_flag(other, name)]
    if owners:
        return (
            f"--{name} is a flag of {' and '.join(owners)}, not of "
            f"--mode={command.mode}; see --mode={command.mode} --help"
        )
    text = f"--{name}: --mode={command.mode} has no such flag"
    for near in (command, *others):
        for match in difflib.get_close_matches(name, list(near.values), n=1):
            mode = "" if near is command else f" of --mode={near.mode}"
            return f"{text}; did you mean --{match}{mode}?"
    return f"{text}; see --mode={command.mode} --help"


def _has_flag(command: Command, name: str) -> bool:
    base = name.split(".")[0]
    negated = base.removeprefix("no")
    return base in command.values or (
        negated in command.values and bool(command.values[negated].boolean)
    )


def overview() -> str:
    """What each mode does, in a line each."""
    lines = ["Modes; --mode=MODE --help shows the flags of one:"]
    lines += [f"  {mode:<10}{load(mode).COMMAND.summary}" for mode in MODES]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs what sys.argv asks for; ends the process with 2 for a bad command line, and
    with 1 for an error of the mode."""
    arguments = sys.argv[1:]
    try:
        mode = mode_of(arguments)
        module = load(mode)
        command = module.COMMAND
        if _HELP & set(arguments):
            named = any(a.lstrip("-").partition("=")[0] == "mode" for a in arguments)
            print(command.help() + ("" if named else f"\n{overview()}"), end="")
            return
        parse(command)
    except UsageError as error:
        _end(error)
    absl_logging.set_verbosity(command.values["verbosity"].value)
    # absl's handler of log records, and its own flags' defaults, which libraries read
    app.run(lambda _: _call(module), argv=sys.argv[:1])


def _end(error: UsageError) -> NoReturn:
    if "--traceback" in sys.argv:
        from data.cxr_registry.guard import failures

        sys.stderr.write(failures.trace(error))
    print(f"{PROGRAM}: {error}", file=sys.stderr)
    sys.exit(EXIT_USAGE)


def _call(module: Any) -> None:
    from aals_jax.runtime import log
    from data.cxr_registry.guard import failures

    failures.guard()
    log.set_up_logging()
    for name in _LOG_TOO_MUCH:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        module.call()
    except Exception as error:  # Python's own printout may name a patient
        if module.COMMAND.values["traceback"].value:
            sys.stderr.write(failures.trace(error))
        code, text = getattr(error, "exit_code", 1), failures.message(error)
        if code == EXIT_STOPPED:  # by a signal, of which all hosts know
            log.warning("%s", text)
        else:
            log.error("%s", text)
            module.COMMAND.on_failure(text)
        module.COMMAND.release()
        module.COMMAND.end(code)
    finally:
        module.COMMAND.release()
