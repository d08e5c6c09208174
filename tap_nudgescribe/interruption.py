"""Stop a run that a signal asks to stop, where it can be stopped."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

GRACE_SECONDS = 5.0
"""How long a run has to come to a safe point; then it is stopped wherever it is."""

LONGEST_NAP_SECONDS = 0.2


class Interrupted(BaseException):
    """A signal asked the run to stop; the state is written and the run ends."""

    def __init__(self, signum: int) -> None:
        """Remember which signal."""
        super().__init__(signum)
        self.exit_code = 128 + signum


class Interruption:
    """A request to stop, noted by a signal handler and obeyed at the next safe point.

    An exception out of a handler can come while a lock is held, which nobody will release, or
    while a line is half written. So a handler only notes the signal, and :meth:`check` raises
    where nothing is under way. A run that does not come to a safe point in time, or is asked a
    second time, is stopped wherever its main thread is.
    """

    def __init__(self) -> None:
        """Begin without a request."""
        self._signum: int | None = None

    def note(self, signum: int) -> None:
        """Note a signal: what a signal handler calls.

        Raises:
            Interrupted: when one has been noted before.
        """
        if self._signum is not None:
            raise Interrupted(signum)
        self._signum = signum
        if hasattr(signal, "setitimer"):  # not on Windows
            signal.signal(signal.SIGALRM, self._give_up)
            signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)

    def check(self) -> None:
        """Pass a safe point, in any thread.

        Raises:
            Interrupted: when a signal has been noted.
        """
        if self._signum is not None:
            raise Interrupted(self._signum)

    def now(self) -> float:
        """Return the seconds of a clock that only goes forward, as :meth:`sleep` has it."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait, but not longer than until a signal is noted.

        Raises:
            Interrupted: when one is.
        """
        until = self.now() + seconds
        self.check()
        while (rest := until - self.now()) > 0:
            time.sleep(min(rest, LONGEST_NAP_SECONDS))
            self.check()

    def settle(self) -> None:
        """Heed no signal any more: the run is ending already."""
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGTERM, signal.SIGINT):
                signal.signal(signum, signal.SIG_IGN)
            if hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_REAL, 0)

    def _give_up(self, _signum: int, _frame: FrameType | None) -> NoReturn:
        raise Interrupted(self._signum or signal.SIGTERM)
