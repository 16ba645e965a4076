"""Tunes ↔ piano rolls: a channel a voice, pitch upwards in a window of its own, time in steps (Dong et al. 2018, MuseGAN).

A step is an eighth where nearly all notes begin on eighths, else a sixteenth, and a cell is on while a note sounds. Where the
same pitch is struck again at once, the last step before is faint, and on the way back such a dip parts two notes; single steps
of one pitch flow together. Voices that are sung one note at a time stay so: the strongest line through the cells wins, where
each change of note costs a little (Viterbi 1967), and one that never rests has no silence to go to. Metre,
tempo and loudness are those of most of the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mintage.nn.tune import LENGTH, LOUD, PITCH, PLAIN, QUARTER, START, VOICE, WALK, Tune, barred, bars, joined, metre_ticks, notes

STEPS = (QUARTER // 2, QUARTER // 4)
ON = 0.95  # share of the notes that must begin on a step
SINGLE = 0.98  # share of the steps with a note that have one note, from which a voice is sung one note at a time
RESTS = 0.05  # of its time, up to which a voice counts as never resting
EDGE = 0.005  # share of the notes at either end that a window of pitches may miss
SHORT = 0.01  # share of the notes that may be shorter than the shortest made one
FAINT = 153  # of 255: .2 in −1…1
CELLS = 32  # steps of a roll at most, unless a person wants more
OCTAVE = 12
CHANGE = 0.4  # what a change of note costs a line, measured on chorales; from 1 on a real note of one step would be lost


@dataclass(frozen=True)
class Frame:
    """How the rolls of a set of tunes are laid out.

    Attributes:
        bases: The lowest pitch of each voice's window, a C.
        pitches: Rows of every window.
        single: Whether each voice is sung one note at a time.
        full: Whether each voice of one note at a time hardly ever rests: then it always sings its strongest cell.
        shortest: Steps of the shortest note.
        step: Ticks of a step.
        metre: Metre of most of the data.
        programs: The instrument of each voice.
        velocity: Loudness of what is made.
        tempo: Tempo of what is made.
    """

    bases: tuple[int, ...] = (48,)
    pitches: int = 32
    single: tuple[bool, ...] = (False,)
    full: tuple[bool, ...] = (False,)
    shortest: int = 1
    step: int = STEPS[-1]
    metre: tuple[int, int] = PLAIN
    programs: tuple[int, ...] = (0,)
    velocity: int = LOUD
    tempo: int = WALK

    @property
    def bar(self) -> int:
        """Steps of a bar."""
        return max(1, metre_ticks(*self.metre) // self.step)

    @property
    def bars(self) -> int:
        """Bars of a roll: as many as fit, doubling from one, and a number of steps that halves twice."""
        fitting = [n for n in (1, 2, 4, 8) if n * self.bar <= CELLS and n * self.bar % 4 == 0]
        return fitting[-1] if fitting else 4

    def encode(self, tune: Tune, length: int) -> NDArray[np.uint8]:
        """The first ``length`` steps of a tune whose voices are ours. [V, P, T]"""
        roll = np.zeros((len(self.bases), self.pitches, length), np.uint8)
        own = notes(tune)
        first = np.rint(own[:, START] / self.step).astype(int)
        last = np.maximum(first + 1, np.rint((own[:, START] + own[:, LENGTH]) / self.step).astype(int))
        rows = own[:, PITCH] - np.array(self.bases)[own[:, VOICE]]
        beyond = self.pitches - OCTAVE + (rows - self.pitches) % OCTAVE  # what is out of the window moves in by octaves
        rows = np.where(rows < 0, rows % OCTAVE, np.where(rows >= self.pitches, beyond, rows))
        struck = set(zip(own[:, VOICE].tolist(), rows.tolist(), first.tolist(), strict=True))
        for voice, row, begin, end in zip(own[:, VOICE].tolist(), rows.tolist(), first.tolist(), last.tolist(), strict=True):
            roll[voice, row, begin:end] = 255
            if begin < end - 1 < length and (voice, row, end) in struck:
                roll[voice, row, end - 1] = FAINT
        return roll

    def decode(self, roll: NDArray[np.float32]) -> Tune:
        """The tune in a roll of values in −1…1. [V, P, T] → [R, 6]"""
        on = roll > 0
        for voice in np.flatnonzero(self.single):
            on[voice] = line(roll[voice], self.full[voice])[None] == np.arange(roll.shape[1])[:, None]
        strong, quiet = roll >= 0.5, np.zeros((*on.shape[:2], 1), bool)
        parted = np.concatenate([on[..., :-1] & ~strong[..., :-1] & strong[..., 1:], quiet], 2)  # after this step
        before = np.concatenate([quiet, on[..., :-1] & ~parted[..., :-1]], 2)
        after = np.concatenate([on[..., 1:], quiet], 2) & ~parted
        where = np.argwhere(on & ~before)
        begins, ends = where[:, 2], np.argwhere(on & ~after)[:, 2] + 1  # in the same order: voice, row, time
        enough = ends - begins >= self.shortest
        where, begins, ends = where[enough], begins[enough], ends[enough]
        rows = np.empty((len(where), 6), np.int32)
        rows[:, 0], rows[:, 1] = begins * self.step, (ends - begins) * self.step
        rows[:, 2], rows[:, 3] = where[:, 1] + np.array(self.bases)[where[:, 0]], self.velocity
        rows[:, 4], rows[:, 5] = where[:, 0], np.array(self.programs)[where[:, 0]]
        rows[:, 2] = np.minimum(rows[:, 2], 127)
        return joined(barred([(0, *self.metre)], [(0, self.tempo)], on.shape[2] * self.step), rows)


def line(cells: NDArray[np.float32], full: bool) -> NDArray[np.int64]:
    """The row that sounds at each step of the strongest line through cells [P, T]; P is silence, where it may rest. [T]"""
    silence = np.full((1, cells.shape[1]), -np.inf if full else 0.0)
    values = np.concatenate([cells, silence])
    score, came = values[:, 0], np.empty(values.shape, np.int64)
    for step in range(1, values.shape[1]):
        best, own = score.argmax(), np.arange(len(score))
        came[:, step] = np.where(score[best] - CHANGE > score, best, own)
        score = np.maximum(score, score[best] - CHANGE) + values[:, step]
    found = np.empty(values.shape[1], np.int64)
    found[-1] = score.argmax()
    for step in range(len(found) - 1, 0, -1):
        found[step - 1] = came[found[step], step]
    return found


def pieces(tune: Tune, count: int) -> list[Tune]:
    """Passages of ``count`` bars, each half a passage after the one before; a shorter tune is one piece."""
    frame, own = bars(tune), notes(tune)
    found = []
    for first in range(0, max(1, len(frame) - count + 1), max(1, count // 2)):
        part = frame[first : first + count]
        begin, end = int(part[0, START]), int(part[-1, START] + part[-1, LENGTH])
        rows = own[(own[:, START] < end) & (own[:, START] + own[:, LENGTH] > begin)].copy()
        late = np.maximum(0, begin - rows[:, START])
        rows[:, START] += late - begin
        rows[:, LENGTH] = np.minimum(rows[:, LENGTH] - late, end - begin - rows[:, START])
        part = part.copy()
        part[:, START] -= begin
        if len(rows):
            found.append(np.concatenate([part, rows]).astype(np.int32))
    return found


def fit(tunes: Sequence[Tune], metre: tuple[int, int], programs: Sequence[int], velocity: int, tempo: int) -> Frame:
    """The frame of tunes whose voices are numbered as ``programs``."""
    rows = np.concatenate([notes(tune) for tune in tunes])
    bases, tops, single, full = [], [], [], []
    for voice in range(len(programs)):
        own = np.sort(rows[rows[:, VOICE] == voice, PITCH])
        edge = int(EDGE * len(own))
        low, high = (int(own[edge]), int(own[len(own) - 1 - edge])) if len(own) else (60, 71)
        bases.append(low // OCTAVE * OCTAVE)
        tops.append(high)
        alone, rests = _sung(tunes, voice)
        single.append(alone)
        full.append(alone and rests < RESTS)
    pitches = max(top - base for top, base in zip(tops, bases, strict=True)) + 1
    step = next((size for size in STEPS if (rows[:, START] % size == 0).mean() >= ON), STEPS[-1]) if len(rows) else STEPS[-1]
    steps = np.sort(np.maximum(1, np.rint(rows[:, LENGTH] / step)))
    shortest = int(steps[int(SHORT * len(steps))]) if len(steps) else 1
    return Frame(
        tuple(bases),
        max(16, -(-pitches // 8) * 8),
        tuple(single),
        tuple(full),
        shortest,
        step,
        metre,
        tuple(programs),
        velocity,
        tempo,
    )


def _sung(tunes: Sequence[Tune], voice: int) -> tuple[bool, float]:
    """Whether a voice is sung one note at a time (its notes sound no longer than it is heard), and how much it rests."""
    sounding, heard, whole = 0, 0, 0
    for tune in tunes:
        own = notes(tune)
        own = own[own[:, VOICE] == voice]
        ends = own[:, START] + own[:, LENGTH]
        order = np.argsort(own[:, START], kind="stable")
        reach = np.maximum.accumulate(np.concatenate([[0], ends[order]]))[:-1] if len(own) else ends
        heard += int(np.maximum(0, ends[order] - np.maximum(own[order, START], reach)).sum())
        sounding += int(own[:, LENGTH].sum())
        whole += int(bars(tune)[:, LENGTH].sum())
    return heard >= SINGLE * sounding, 1 - heard / max(1, whole)
