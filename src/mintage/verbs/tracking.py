"""Where a training's events go: the listener, ``events.jsonl``, TensorBoard files where that extra is installed.

``--profile`` adds a Chrome trace of a few steps (torch.profiler).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mintage.core.events import Event, Kind, On
from mintage.core.store import Run, append_json

PROFILED_STEPS = 8


class Tracker:
    """Tells everyone who listens; a run without the extra simply has no TensorBoard files."""

    def __init__(self, run: Run, on: On, profile: bool = False) -> None:
        """``on`` is the surface's listener."""
        self._run, self._on, self._profile = run, on, profile
        self._board: Any = None
        self._profiler: Any = None

    def say(self, kind: Kind, text: str, /, **data: Any) -> None:
        """Emit one event and keep it."""
        event = Event(kind, "train", text, data)
        append_json(self._run.events, event.as_json())
        if kind == "step":
            self._scalars(data)
        self._on(event)

    def _scalars(self, data: dict[str, Any]) -> None:
        if self._board is None:
            self._board = False
            if importlib.util.find_spec("tensorboard"):
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(self._run.path / "tensorboard"))  # type: ignore[no-untyped-call]
        if self._board:
            numbers = {**data.get("losses", {}), **{k: data[k] for k in ("holdout", "speed") if k in data}}
            for name, value in numbers.items():
                self._board.add_scalar(name, value, data["step"])

    @contextmanager
    def profiler(self) -> Iterator[None]:
        """Trace a few steps if asked to, and close what is open at the end."""
        try:
            if self._profile:
                from torch.profiler import ProfilerActivity, profile, schedule

                trace = str(self._run.path / "profile.json")
                wanted = schedule(wait=3, warmup=2, active=PROFILED_STEPS, repeat=1)
                with profile(
                    activities=[ProfilerActivity.CPU],
                    schedule=wanted,
                    on_trace_ready=lambda p: p.export_chrome_trace(trace),
                ) as self._profiler:
                    yield
            else:
                yield
        finally:
            self._profiler = None
            if self._board:
                self._board.close()

    def profile_step(self) -> None:
        """Tell the profiler that a step is over."""
        if self._profiler is not None:
            self._profiler.step()
