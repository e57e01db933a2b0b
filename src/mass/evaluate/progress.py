"""How far a long run has come, on a terminal."""

from __future__ import annotations

import sys
import time

_PATIENCE = 3.0  # seconds without a word


class Progress:
    """One line on stderr that says how many shifts are done and how much time is left; nothing where nobody watches.

    Args:
        shown: True, False, or None for: on a terminal, once it has taken some seconds.
    """

    def __init__(self, shown: bool | None = None) -> None:
        self.shown = sys.stderr.isatty() if shown is None else shown
        self.wait = _PATIENCE if shown is None else 0.0
        self.written = 0

    def begin(self, what: str) -> None:
        """A new batch."""
        self.what, self.started, self.last = what, time.monotonic(), -1.0

    def step(self, done: int, total: int) -> None:
        """So many of its shifts are done."""
        now = time.monotonic()
        spent = now - self.started
        if not self.shown or spent < self.wait or (now - self.last < 0.5 and done < total):
            return
        self.last = now
        left = spent / done * (total - done)
        time_left = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
        self._write(f"certify: {self.what}{done:,} of {total:,} shifts, {time_left} left")

    def end(self) -> None:
        """Clear the line."""
        if self.written:
            self._write("")
            print(end="\r", file=sys.stderr, flush=True)

    def _write(self, line: str) -> None:
        print("\r" + line.ljust(self.written), end="", file=sys.stderr, flush=True)
        self.written = len(line)
