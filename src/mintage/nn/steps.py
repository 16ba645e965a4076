"""Tunes written as lists of chords, one a time step, as the chorale data sets are (Boulanger-Lewandowski et al. 2012).

A piece is a list of steps, a step a list of MIDI pitches; a file is a list of pieces, or names splits and holds one list
for each. Where every step of every piece has equally many numbers, the places in a step are voices and -1 is silence;
else all is one voice. A pitch that stands in the next step too is held on, since nothing says that it was struck again. Steps
are sixteenths, or what the file's name says (quarter, 8th, 16th), and bars are 4/4, since nothing says otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from mintage.core.errors import BadItem
from mintage.core.words import say
from mintage.nn.tune import LOUD, PLAIN, QUARTER, Tune, barred, joined

STEPS = {"quarter": QUARTER, "4th": QUARTER, "8th": QUARTER // 2, "eighth": QUARTER // 2, "16th": QUARTER // 4}
MOST = 64_000  # steps of a piece
LOOK = 4096  # bytes that tell what a file is
VOICES = 16


def looks(head: bytes) -> bool:
    """Whether a file that begins so may hold chords: brackets and numbers but for the names of its parts."""
    text = re.sub(rb'"[^"\\]{0,40}"\s*:', b"", head[:LOOK])
    return (
        text.lstrip(b"\xef\xbb\xbf{ \t\r\n").startswith(b"[")
        and bool(re.fullmatch(rb"[\[\]\d\s,.{}-]*", text))
        and b"[[" in (re.sub(rb"\s", b"", text))
    )


def pieces(data: bytes) -> Iterator[tuple[str, list[Any]]]:
    """The pieces of a file, each with the name of its part (empty where there is none)."""
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        raise BadItem(say("the file is not JSON")) from None
    parts = whole.items() if isinstance(whole, dict) else [("", whole)]
    for name, rows in parts:
        if isinstance(rows, list):
            if rows and _is_piece(rows):
                rows = [rows]
            yield from ((str(name), row) for row in rows)


def _is_piece(rows: list[Any]) -> bool:
    """Whether a list holds steps and not pieces."""
    return all(isinstance(step, list) and all(isinstance(p, (int, float)) for p in step) for step in rows) and any(rows)


def step_of(name: str) -> int:
    """Ticks of a step, by the file's name."""
    return next((ticks for word, ticks in STEPS.items() if word in name.lower()), QUARTER // 4)


def tune(piece: Any, step: int) -> Tune:
    """A piece of ``step`` ticks a chord as a tune.

    Raises:
        BadItem: It is no list of chords.
    """
    if not isinstance(piece, list) or not _is_piece(piece):
        raise BadItem(say("it is no list of chords"))
    if len(piece) > MOST:
        raise BadItem(say("it has {n} steps, and the limit is {most}", n=len(piece), most=MOST))
    pitches = {p for chord in piece for p in chord}
    if not all(p == p and p == int(p) and -1 <= p <= 127 for p in pitches):
        raise BadItem(say("a pitch is not a whole number from -1 to 127"))
    widths = {len(chord) for chord in piece}
    apart = len(widths) == 1 and 1 < max(widths) <= VOICES and any(sorted(chord) != chord for chord in piece)
    rows: list[tuple[int, ...]] = []
    held: dict[tuple[int, int], int] = {}  # voice and pitch → step at which it began
    for at, chord in enumerate([*piece, []]):
        now = {(voice if apart else 0, int(pitch)) for voice, pitch in enumerate(chord) if pitch >= 0}
        for key in [key for key in held if key not in now]:
            begin = held.pop(key)
            rows.append((begin * step, (at - begin) * step, key[1], LOUD, key[0], 0))
        held.update({key: at for key in now if key not in held})
    if not rows:
        raise BadItem(say("there are no notes in it"))
    end = max(row[0] + row[1] for row in rows)
    return joined(barred([(0, *PLAIN)], [], end), np.array(rows, np.int32))
