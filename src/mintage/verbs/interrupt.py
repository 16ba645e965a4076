"""Ctrl-C once means save and stop, twice means now; and one process at a time may train a run.

The lock is the kernel's (``flock``): it is gone when the process is, so no stored word can say that a dead run is alive.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from mintage.core.errors import StoreError
from mintage.core.words import say


class Interrupt:
    """``asked`` turns true at the first SIGINT or SIGTERM inside the block; a second SIGINT interrupts at once."""

    def __enter__(self) -> Interrupt:
        self.asked = False
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the run; a second process is told so.

    Raises:
        StoreError: Another process trains this run, or the folder cannot be written.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        handle = os.open(run / "lock", os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise StoreError(
            say("{path} could not be written: {reason}. Choose another --runs folder.", path=run, reason=error.strerror)
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(say("Another process is training {path}; wait for it, or choose another --name.", path=run)) from error
        yield
    finally:
        os.close(handle)
