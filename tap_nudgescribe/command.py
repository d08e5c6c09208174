"""How a command ends: its exit code and its last words, whatever happened."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from singer_sdk.exceptions import ConfigValidationError, MappingError

from tap_nudgescribe.discretion import quiet
from tap_nudgescribe.errors import (
    InvalidSettingsError,
    MachineError,
    NudgescribeError,
    SettingsError,
    reason,
)
from tap_nudgescribe.interruption import Interrupted
from tap_nudgescribe.printable import Lines, log_printable_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from singer_sdk.plugin_base import PluginBase

    from tap_nudgescribe.report import ReportFile, RunReport

REPORT_OPTION = click.Option(
    ["--report"],
    metavar="FILE",
    help="Write a page of HTML about the run, however it ends.",
)
"""Both plugins have it."""


MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES})
"""What the operating system says when a disk is full, broken, or closed to this user."""


def ended(run: Callable[[], int | None], logger: logging.Logger) -> int:
    """Run something and return its exit code.

    0 is success, 130 and 143 an interruption, anything else a failure, 1 unless the error has a
    code of its own. An unexpected error is logged by its type and place only, and a wrong setting
    by its name: their texts may hold a value.
    """
    quiet()
    log_printable_text()
    try:
        _need_stdout()
        return run() or 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except Interrupted as interrupted:
        logger.warning("Interrupted; the state is safe and the next run goes on from it")
        return interrupted.exit_code
    except Exception as error:  # noqa: BLE001
        for text in _last_words(error):
            logger.error("%s", text)  # noqa: TRY400 (no traceback)
        return error.exit_code if isinstance(error, NudgescribeError) else 1


def _last_words(error: Exception) -> Iterable[object]:
    """Return what is logged of an error that ends a command."""
    match error:
        case BrokenPipeError():
            # The interpreter would complain when it flushes stdout at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return [MachineError("What reads the standard output has ended")]
        case ConfigValidationError():
            return [f"Settings: {_without_value(problem)}" for problem in error.errors]
        case InvalidSettingsError():
            return [f"Settings: {problem}" for problem in error.problems]
        case SettingsError():
            return [f"Settings: {error}"]
        case NudgescribeError():
            return error.lines()
        case _:
            return [_unexpected(error)]


def reported(
    run: Callable[[], int | None],
    plugin: type[PluginBase],
    path: str | None,
    logger: logging.Logger,
    told: Callable[[], RunReport | None],
) -> int:
    """Run something as :func:`ended` does, and write a report of it.

    Args:
        run: What to run.
        plugin: Whose run it is.
        path: Where the report goes; None writes none.
        logger: For errors.
        told: Says, when the run is over, what there is to tell of it.
    """
    if path is None:
        return ended(run, logger)
    from tap_nudgescribe.report import ReportFile, RunReport  # noqa: PLC0415 (fast start-up)

    report: ReportFile | None = None

    def begun() -> int | None:
        nonlocal report
        report = ReportFile(path, plugin.name, plugin.get_plugin_version())
        return run()

    code = ended(begun, logger)
    if report:
        report.write(code, told() or RunReport())
    return code


def _unexpected(error: Exception) -> object:
    """Return what is said of an error that this package did not raise on purpose."""
    if isinstance(error, OSError) and error.errno in MACHINE:
        return MachineError(f"The machine cannot write ({reason(error)})")
    if isinstance(error, MappingError):
        # Its text names expressions of the settings, and no value of a record.
        return f"Settings: stream_maps: {str(error).rstrip('.')}"
    setting = _misplaced_setting(error)
    if setting:
        return f"Settings: {setting} does not have the type or form that its description asks for"
    places = "".join(traceback.format_tb(error.__traceback__))
    return Lines(f"A defect in this package ({type(error).__name__})\n{places}")


def _need_stdout() -> None:
    """Make sure that messages can be written, and that printing to stderr is possible.

    Raises:
        MachineError: when standard output is closed: its number would be given to another file
            or connection, which messages would then go to.
    """
    if sys.stderr is None:  # closed, too
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (until the end)
    if sys.stdout is None:
        problem = "Standard output is closed"
        raise MachineError(problem, advice="Connect it to a loader, a file or /dev/null.")


def _misplaced_setting(error: Exception) -> str:
    """Return the setting for which the SDK's own check of settings fails; empty if it did not."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if "_validate_config" not in {frame.f_code.co_name for frame in frames}:
        return ""
    names = [f.f_locals.get("path") for f in frames if f.f_code.co_name == "descend"]
    return ".".join(str(name) for name in names if name is not None)


def leave(code: int) -> NoReturn:
    """Exit; after an interruption at once, without waiting for requests under way in threads."""
    if code <= 128:  # noqa: PLR2004 (exit codes of signals begin above it)
        sys.exit(code)
    logging.shutdown()
    os._exit(code)


def _without_value(problem: str) -> str:
    """Return a settings error of the SDK without the value that jsonschema quotes in it."""
    _, found, path = problem.rpartition(" in config[")
    if not found:
        return problem
    name = ".".join(part.strip("'") for part in path.rstrip("]").split("]["))
    return f"{name} does not have the type or form that its description asks for"
