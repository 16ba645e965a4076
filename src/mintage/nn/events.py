"""Tunes ↔ token ids: bars that name their metre, places in the bar, pitches and lengths, as in REMI (Huang & Yang 2020).

``bar(6/8) place(0) pitch pitch pitch length place(12) …``: notes that are struck together and last as long share one
length, and a pitch says its voice, so a chord costs two tokens more than its notes. Tempo and loudness stand only where
they vary. Any row of ids is a tune: what makes no sense is passed over. It does not know which notes go together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mintage.core.spec import EOS, RESERVED
from mintage.nn.tune import (
    BAR,
    DENOMINATOR,
    LENGTH,
    LONGEST,
    LOUD,
    NUMERATOR,
    PITCH,
    START,
    TEMPO,
    VELOCITY,
    VOICE,
    WALK,
    Tune,
    bars,
    joined,
    metre_ticks,
    notes,
)

METRES = tuple((n, d) for d in (4, 8, 2, 16) for n in range(1, 17) if metre_ticks(n, d) <= LONGEST)
LENGTHS = np.array(
    [*range(1, 7), 8, 9, 10, *range(12, 25, 1), *range(26, 48, 2), *range(48, 97, 6), *range(108, 193, 12), *range(216, 385, 24),
     *range(432, 769, 48)]
)  # fmt: skip
LOUDS = np.array([20, 36, 52, 68, 80, 92, 104, 120])
PACES = np.array([40, 48, 56, 64, 72, 80, 90, 100, 110, 120, 132, 144, 160, 176, 192, 220])
BARS = RESERVED
PLACES = BARS + len(METRES)
LASTS = PLACES + LONGEST
VOLUMES = LASTS + len(LENGTHS)
SPEEDS = VOLUMES + len(LOUDS)
PITCHES = SPEEDS + len(PACES)  # 128 for each voice
METRE_TICKS = np.array([metre_ticks(*m) for m in METRES])
KEYS = 128


def nearest(values: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.int64]:
    """Positions of the values that are nearest by ratio."""
    found: NDArray[np.int64] = np.abs(np.log(values) - np.log(np.maximum(1, wanted))[..., None]).argmin(-1)
    return found


def metre_id(numerator: int, denominator: int, length: int) -> int:
    """The bar token of a metre; where it is none of ours or the bar is cut short, that of a bar as long."""
    if (numerator, denominator) in METRES and metre_ticks(numerator, denominator) == length:
        return BARS + METRES.index((numerator, denominator))
    longer = np.where(min(length, LONGEST) <= METRE_TICKS, METRE_TICKS, 2 * LONGEST)
    return BARS + int(longer.argmin())


@dataclass(frozen=True)
class Layout:
    """What a set of tunes needs to be said.

    Attributes:
        programs: The instrument of each voice.
        loud: Whether loudness varies.
        paced: Whether tempo varies.
        velocity: The loudness of all notes where it does not.
        tempo: The tempo where it does not.
    """

    programs: tuple[int, ...] = (0,)
    loud: bool = False
    paced: bool = False
    velocity: int = LOUD
    tempo: int = WALK

    @property
    def vocab(self) -> int:
        """Number of ids."""
        return PITCHES + KEYS * len(self.programs)

    def encode(self, tune: Tune) -> list[int]:
        """Ids of a tune whose voices are numbered as ``programs``."""
        frame, rows = bars(tune), notes(tune)
        at = np.searchsorted(frame[:, START], rows[:, START], "right") - 1
        place = np.minimum(rows[:, START] - frame[at, START], LONGEST - 1)
        last = LASTS + nearest(LENGTHS, rows[:, LENGTH])
        volume = VOLUMES + nearest(LOUDS, rows[:, VELOCITY]) if self.loud else np.zeros(len(rows), np.int64)
        pitch = PITCHES + KEYS * rows[:, VOICE] + rows[:, PITCH]
        pace = SPEEDS + nearest(PACES, frame[:, TEMPO])
        struck: list[dict[int, dict[tuple[int, int], list[int]]]] = [{} for _ in frame]
        for b, p, v, d, key in zip(*(c.tolist() for c in (at, place, volume, last, pitch)), strict=True):
            struck[b].setdefault(p, {}).setdefault((v, d), []).append(key)
        ids: list[int] = []
        speed = 0
        for row, now, chords in zip(frame.tolist(), pace.tolist(), struck, strict=True):
            ids.append(metre_id(row[NUMERATOR], row[DENOMINATOR], row[LENGTH]))
            if self.paced and now != speed:
                ids.append(now)
                speed = now
            ids += self._bar(chords)
        return ids

    def _bar(self, chords: dict[int, dict[tuple[int, int], list[int]]]) -> list[int]:
        ids: list[int] = []
        loud = 0
        for place in sorted(chords):
            ids.append(PLACES + place)
            for (volume, last), keys in chords[place].items():
                if self.loud and volume != loud:
                    ids.append(volume)
                    loud = volume
                ids += [*keys, last]
        return ids

    def decode(self, ids: Sequence[int]) -> Tune:
        """The tune that a row of ids says, up to its end."""
        said = _Said(self)
        for token in ids:
            if token == EOS:
                break
            if token >= RESERVED:
                said.hear(token)
        table = (np.array(part, np.int32).reshape(-1, 6) for part in (said.bars, said.notes))
        return joined(*table)


class _Said:
    """A tune as it is said, token by token."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.bars: list[tuple[int, ...]] = []
        self.notes: list[tuple[int, ...]] = []
        self.waiting: list[int] = []  # pitches whose length is not said yet
        self.place, self.velocity, self.tempo = 0, layout.velocity, layout.tempo

    def hear(self, token: int) -> None:
        """The next token."""
        if token < PLACES:
            self.bar(*METRES[token - BARS])
            return
        if not self.bars:  # it began in the middle of one, of which nobody knows the metre
            return
        if token >= PITCHES:
            self.waiting.append(token - PITCHES)
        elif token < LASTS:
            self.place, self.waiting = min(token - PLACES, self.bars[-1][LENGTH] - 1), []
        elif token < VOLUMES:
            start, length, programs = self.bars[-1][START] + self.place, int(LENGTHS[token - LASTS]), self.layout.programs
            self.notes += [(start, length, k % KEYS, self.velocity, k // KEYS, programs[k // KEYS]) for k in self.waiting]
            self.waiting = []
        elif token < SPEEDS:
            self.velocity = int(LOUDS[token - VOLUMES])
        else:
            self.tempo = int(PACES[token - SPEEDS])
            self.bars[-1] = (*self.bars[-1][:TEMPO], self.tempo)

    def bar(self, numerator: int, denominator: int) -> None:
        """A bar begins."""
        start = self.bars[-1][START] + self.bars[-1][LENGTH] if self.bars else 0
        self.bars.append((start, metre_ticks(numerator, denominator), BAR, numerator, denominator, self.tempo))
        self.place, self.waiting = 0, []
