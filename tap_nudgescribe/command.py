"""How a command ends: its exit code and its last words, whatever happened."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

import click
from singer_sdk.exceptions import ConfigValidationError

from tap_nudgescribe.discretion import quiet
from tap_nudgescribe.errors import MachineError, NudgescribeError, SettingsError, reason
from tap_nudgescribe.interruption import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

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
    try:
        return run() or 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except Interrupted as interrupted:
        logger.warning("Interrupted; the state is safe and the next run goes on from it")
        return interrupted.exit_code
    except BrokenPipeError:
        # The interpreter would complain when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ConfigValidationError as error:
        for problem in error.errors:
            logger.error("Settings: %s", _without_value(problem))  # noqa: TRY400
    except SettingsError as error:
        logger.error("Settings: %s", error)  # noqa: TRY400
    except NudgescribeError as error:
        logger.error("%s", error)  # noqa: TRY400 (no traceback)
        return error.exit_code
    except Exception as error:  # noqa: BLE001
        logger.error("%s", _unexpected(error))  # noqa: TRY400
    return 1


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
    places = "".join(traceback.format_tb(error.__traceback__))
    return f"A defect in this package ({type(error).__name__})\n{places}"


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
