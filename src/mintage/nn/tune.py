"""A tune as one table of events: bars with their metre and tempo, and notes, all in ticks of a 24th of a quarter note.

Every row holds ``start length pitch velocity voice program``; a bar is a row of pitch -1 that holds its numerator,
denominator and tempo in the last three places. 24 ticks divide binary notes down to the 32nd and triplets down to the
sixteenth; finer timing is rounded. A voice is one track of a file; program 128 marks drums (General MIDI, 1991). It
does not know lyrics, pedals, bends or how a player hurried.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tune = NDArray[np.int32]  # [R, 6]

QUARTER = 24  # ticks of a quarter note
WHOLE = 4 * QUARTER
START, LENGTH, PITCH, VELOCITY, VOICE, PROGRAM = range(6)
BAR, NUMERATOR, DENOMINATOR, TEMPO = -1, 3, 4, 5  # of a bar: what its pitch is, and what stands in the last three places
LONGEST = 2 * WHOLE  # of a bar, and four times that of a note
DRUMS = 128  # the program of drums
PLAIN = (4, 4)  # metre and
WALK = 120  # tempo, where nothing is said
LOUD = 90  # velocity, where nothing is said
NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")


def is_bar(tune: Tune) -> NDArray[np.bool_]:
    """Which rows are bars. [R]"""
    found: NDArray[np.bool_] = tune[:, PITCH] == BAR
    return found


def bars(tune: Tune) -> Tune:
    """The bars. [B, 6]"""
    return tune[is_bar(tune)]


def notes(tune: Tune) -> Tune:
    """The notes. [N, 6]"""
    return tune[~is_bar(tune)]


def metre_ticks(numerator: int, denominator: int) -> int:
    """Length of a bar of this metre."""
    return numerator * WHOLE // denominator


def tidy(rows: Tune) -> Tune:
    """Notes [N, 6] in order, each sounding at most until its own pitch is struck again in its voice. [M, 6]"""
    rows = rows[np.lexsort((rows[:, LENGTH], rows[:, START], rows[:, PITCH], rows[:, VOICE]))]
    again = (np.diff(rows[:, VOICE]) == 0) & (np.diff(rows[:, PITCH]) == 0)
    free = np.append(np.where(again, np.diff(rows[:, START]), 4 * LONGEST), 4 * LONGEST)[: len(rows)]
    rows = rows.copy()
    rows[:, LENGTH] = np.minimum(rows[:, LENGTH], free)
    rows = rows[rows[:, LENGTH] > 0]  # of two that are struck together the longer stays
    return rows[np.lexsort((rows[:, PITCH], rows[:, VOICE], rows[:, START]))]


def barred(changes: Sequence[tuple[int, int, int]], tempos: Sequence[tuple[int, int]], end: int) -> Tune:
    """Bars up to ``end`` under changes of metre (start, numerator, denominator) and of tempo (start, beats a minute).

    A change in the middle of a bar ends that bar; bars of more than two whole notes are cut.
    """
    found: list[tuple[int, int, int, int, int, int]] = []
    at, k, j = 0, 0, 0
    metre, tempo = PLAIN, WALK
    while at < end:
        while k < len(changes) and changes[k][0] <= at:
            metre, k = (changes[k][1], changes[k][2]), k + 1
        while j < len(tempos) and tempos[j][0] <= at:
            tempo, j = tempos[j][1], j + 1
        length = max(1, min(metre_ticks(*metre), LONGEST))
        if k < len(changes):
            length = min(length, changes[k][0] - at)
        found.append((at, length, BAR, *metre, tempo))
        at += length
    return np.array(found, np.int32).reshape(-1, 6)


def joined(frame: Tune, rows: Tune) -> Tune:
    """Bars and notes as one table, in order of time, a bar before its notes; without silent bars at the ends and silent voices."""
    rows = tidy(rows)
    if not len(rows) or not len(frame):
        return np.zeros((0, 6), np.int32)
    end = int((rows[:, START] + rows[:, LENGTH]).max())
    while (after := int(frame[-1, START] + frame[-1, LENGTH])) < end:  # the last note rings on
        more = frame[-1:].copy()
        more[:, START], more[:, LENGTH] = after, max(1, min(metre_ticks(*frame[-1, [NUMERATOR, DENOMINATOR]].tolist()), LONGEST))
        frame = np.concatenate([frame, more])
    first = int(np.searchsorted(frame[:, START], rows[0, START], "right")) - 1
    last = int(np.searchsorted(frame[:, START], end, "left"))
    rows[:, VOICE] = np.unique(rows[:, VOICE], return_inverse=True)[1]  # as a file numbers its tracks
    whole = np.concatenate([frame[max(0, first) : last], rows])
    whole[:, START] -= frame[max(0, first), START]
    return np.ascontiguousarray(whole[np.lexsort((whole[:, PITCH] != BAR, whole[:, START]))], np.int32)


def excerpt(tune: Tune, first: int, stop: int) -> Tune:
    """The bars from ``first`` to before ``stop``, with the notes that begin in them."""
    frame, rows = bars(tune)[first:stop], notes(tune)
    if not len(frame):
        return tune[:0]
    end = int(frame[-1, START] + frame[-1, LENGTH])
    rows = rows[(rows[:, START] >= frame[0, START]) & (rows[:, START] < end)].copy()
    rows[:, LENGTH] = np.minimum(rows[:, LENGTH], end - rows[:, START])
    return joined(frame, rows)


def seconds(tune: Tune) -> float:
    """How long it lasts as written."""
    own = bars(tune)
    return float((own[:, LENGTH] / QUARTER * 60 / np.maximum(1, own[:, TEMPO])).sum())


def metre(tune: Tune) -> tuple[int, int]:
    """The metre of most of its time."""
    own = bars(tune)
    if not len(own):
        return PLAIN
    found, where = np.unique(own[:, [NUMERATOR, DENOMINATOR]], axis=0, return_inverse=True)
    weight = np.bincount(where.ravel(), own[:, LENGTH])
    return int(found[weight.argmax(), 0]), int(found[weight.argmax(), 1])


# How well each of the twelve pitch classes above the tonic fits a major and a minor key (Krumhansl & Kessler 1982).
KEYS = np.array(
    [
        [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
        [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17],
    ]
)


def keys(histograms: NDArray[Any]) -> NDArray[np.int64]:
    """The likeliest key of each pitch-class histogram [N, 12]: the tonic, plus 12 for minor. [N]"""
    profile = KEYS - KEYS.mean(1, keepdims=True)
    profile /= np.linalg.norm(profile, axis=1, keepdims=True)
    turned = np.stack([np.roll(mode, tonic) for mode in profile for tonic in range(12)])  # [24, 12]
    fit: NDArray[np.int64] = ((histograms - histograms.mean(1, keepdims=True)) @ turned.T).argmax(1)
    return fit


def classes(tune: Tune) -> NDArray[np.float64]:
    """How long each pitch class sounds, drums left out. [12]"""
    own = notes(tune)
    own = own[own[:, PROGRAM] != DRUMS]
    found: NDArray[np.float64] = np.bincount(own[:, PITCH] % 12, own[:, LENGTH].astype(np.float64), 12).astype(np.float64)
    return found


def shape(tune: Tune) -> str:
    """A tune as a text in which keys do not count: a character a note, its step from the note before in its voice and its length.

    Voice after voice, drums by what is struck; what is found in it word for word was copied, in whatever key.
    """
    own = notes(tune)
    own = own[np.lexsort((own[:, PITCH], own[:, START], own[:, VOICE]))]
    if not len(own):
        return ""
    step = np.diff(own[:, PITCH], prepend=own[0, PITCH])
    same = np.diff(own[:, VOICE], prepend=-1) == 0
    step = np.where(own[:, PROGRAM] == DRUMS, own[:, PITCH], np.where(same, step, 0))
    length = np.minimum(own[:, LENGTH], 95) // 2  # under four quarter notes, to the 48th
    return "".join(map(chr, (0x400 + (step + 128) * 48 + length).tolist()))
