"""`--config FILE[:CHOICE]`, and the errors of config files in one line.

ml_collections does the rest: each field of the config is a flag, --config.field=value.
"""

import difflib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from aals_jax.commands.command_line import Group, UsageError


def define(group: Group, help: str) -> flags.FlagHolder[Any]:
    """Defines --config in a group; its value is the file's ConfigDict, or None."""
    group.described["config"] = ("FILE[:CHOICE]", help)
    holder = config_flags.DEFINE_config_file(
        "config", None, help, flag_values=group.values
    )
    flag = group.values["config"]
    flag.parser = _Parser(flag.parser)
    return holder


class _Parser(flags.ArgumentParser):
    """ml_collections' parser of a config file, with errors that say what to do."""

    def __init__(self, parser: Any):
        self._parser = parser

    def parse(self, argument: Any) -> Any:
        file, _, _ = argument.partition(":")
        if not Path(file).is_file():
            raise UsageError(f"--config={argument}: there is no file {file}")
        try:
            config = self._parser.parse(argument)
        except Exception as error:
            # the library wraps these two, with their traceback as text
            cause = error
            if isinstance(error, TypeError | ValueError):
                cause = error.__context__ or error
            if isinstance(cause, AttributeError) and "get_config" in str(cause):
                raise UsageError(
                    f"--config={argument}: the file {file} has no get_config(); see "
                    "configs/clavicle.py"
                ) from None
            text = " ".join(str(cause).split())
            if not isinstance(cause, TypeError | ValueError):
                text = f"{type(cause).__name__}: {text}"
            raise UsageError(f"--config={argument}: {text}") from error
        if not isinstance(config, ConfigDict):
            raise UsageError(
                f"--config={argument}: get_config() of {file} returned no ConfigDict"
            )
        _check_fields(config)
        return config


def _check_fields(config: Any) -> None:
    """Raises UsageError for a --config.field that the config does not have."""
    names = list(_names(config))
    for argument in sys.argv:
        given = re.match(r"--?(?:no)?config\.([^=\[]+)", argument)
        if given and given[1] not in names:
            near = difflib.get_close_matches(given[1], names, n=1)
            hint = (
                f"did you mean --config.{near[0]}?" if near else "see configs/base.py"
            )
            raise UsageError(
                f"--config.{given[1]}: the config has no such field; {hint}"
            )


def _names(config: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of a config's fields and sections."""
    for name in config:
        yield prefix + name
        # get: a field that refers to another one is resolved
        value = config.get(name)
        if isinstance(value, ConfigDict):
            yield from _names(value, f"{prefix}{name}.")
