"""The one progress vocabulary: step, preview, sample, warning, done.

A verb calls ``on(event)``; the progress bar, the log, the API and the Studio all read the same events. Events of a run
are also appended to its ``events.jsonl``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["step", "preview", "sample", "warning", "done"]


@dataclass(frozen=True)
class Event:
    """Something happened.

    Attributes:
        kind: One of the five kinds.
        verb: The verb that says it: inspect, plan, train, generate, evaluate, make.
        text: One sentence for a person, already in their language; may be empty.
        data: The numbers and paths behind it, JSON-ready.
        time: Seconds since the epoch.
    """

    kind: Kind
    verb: str
    text: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    time: float = field(default_factory=time.time)

    def as_json(self) -> dict[str, Any]:
        """For one line of ``events.jsonl``."""
        return {"kind": self.kind, "verb": self.verb, "text": self.text, "time": round(self.time, 3), **self.data}


On = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener of someone who does not listen."""
