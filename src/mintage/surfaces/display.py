"""Progress for a person at a terminal: one live line while training, one line for everything else, all on stderr.

Without a terminal there is no live line but a plain one every ten seconds; ``NO_COLOR`` and ``--quiet`` are honoured.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from mintage.core.events import Event
from mintage.core.words import say

PLAIN_SECONDS = 10.0


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Display:
    """A listener of events; use it as a context so that the live line is closed."""

    def __init__(self, quiet: bool = False) -> None:
        """``quiet`` keeps warnings only."""
        self._quiet, self._dials, self._streamed = quiet, "", 0
        self._bar: Any = None
        self._task: Any = None
        self._console: Any = None
        self._begin, self._last = time.perf_counter(), -PLAIN_SECONDS
        self._tty = sys.stderr.isatty()

    def __enter__(self) -> Display:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def __call__(self, event: Event) -> None:
        if event.verb == "generate" and event.kind == "preview":
            self._stream(str(event.data.get("text", "")))
        elif event.kind == "step":
            self._step(event.data)
        elif event.kind == "preview":
            self._preview(event)
        elif event.text and event.verb != "make" and (event.kind == "warning" or not self._quiet):
            self._close()
            self._print(event.text, "yellow" if event.kind == "warning" else "")

    def _print(self, text: str, style: str = "") -> None:
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False)
        stamp = clock(time.perf_counter() - self._begin)
        self._console.print(f"[dim]{stamp}[/dim] ", end="")
        self._console.print(text, style=style or None, markup=False, soft_wrap=True)

    def _stream(self, text: str) -> None:
        """A text grows on the terminal."""
        if self._tty and not self._quiet:
            sys.stderr.write(text[self._streamed :])
            sys.stderr.flush()
            self._streamed = len(text)

    def _step(self, data: Any) -> None:
        if self._quiet or "steps" not in data:
            return
        loss = " ".join(f"{name.split('.')[-1]} {value:.3f}" for name, value in data["losses"].items() if not name.endswith("grad"))
        note = f"{loss} · {data['speed']:.0f}/s · {say('{left} left', left=clock(data['left']))}{self._dials}"
        if self._tty:
            self._bar_to(data["progress"], f"{data['step']}/{data['steps']}", note)
        elif time.perf_counter() - self._last > PLAIN_SECONDS:
            self._last = time.perf_counter()
            self._print(f"{data['progress']:4.0%} {say('step')} {data['step']}/{data['steps']} · {note}")

    def _bar_to(self, progress: float, done: str, note: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (
                BarColumn(24, complete_style="default", finished_style="default"),
                TextColumn("{task.fields[done]} · {task.fields[note]}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=1.0, done=done, note=note)
        self._bar.update(self._task, completed=progress, done=done, note=note)

    def _preview(self, event: Event) -> None:
        names = {"real": say("real"), "varied": say("varied"), "own": say("its own")}
        if "real" in event.data:
            self._dials = " · " + " ".join(f"{names[key]} {event.data[key]:.2f}" for key in names)
        if event.text and not self._quiet:
            self._close()
            self._print(event.text)

    def _close(self) -> None:
        if self._streamed:
            sys.stderr.write("\n")
            self._streamed = 0
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
