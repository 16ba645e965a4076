"""What can be counted of a tune, the same whatever made it: pitch classes, steps, lengths, how its bars resemble each other.

Pitch classes and voices' distance after the MuseGAN study (Dong et al. 2018), which takes the tonal centroid from Harte et al.
2006. It counts and does not listen: a tune may have all of it right and be dull.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mintage.core.spec import Spec
from mintage.nn.events import LENGTHS, nearest
from mintage.nn.tune import DRUMS, LENGTH, PITCH, PROGRAM, START, VOICE, Tune, bars, notes

Array = NDArray[np.float64]

WIDEST = 12  # semitones of a step told apart
REACH = 8  # bars back in which a bar finds its likeness


def is_music(target: Spec) -> bool:
    """Whether these are tunes, as tokens or as a piano roll."""
    return target.channels[:1] == ("remi",) or "pitch" in target.axes


def pitched(tune: Tune) -> Tune:
    """The notes without drums. [N, 6]"""
    own = notes(tune)
    found: Tune = own[own[:, PROGRAM] != DRUMS]
    return found


def steps(tune: Tune) -> Array:
    """How often each step from note to note of a voice, -12 … 12, wider ones at the ends; of a chord its highest. [25]"""
    own = pitched(tune)
    own = own[np.lexsort((own[:, PITCH], own[:, START], own[:, VOICE]))]
    top = np.append((np.diff(own[:, VOICE]) != 0) | (np.diff(own[:, START]) != 0), True)[: len(own)]
    own = own[top]
    same = np.diff(own[:, VOICE]) == 0
    step = np.clip(np.diff(own[:, PITCH])[same], -WIDEST, WIDEST) + WIDEST
    return np.bincount(step, minlength=2 * WIDEST + 1).astype(np.float64)


def lengths(tune: Tune) -> Array:
    """How often each length of a note. [L]"""
    return np.bincount(nearest(LENGTHS, notes(tune)[:, LENGTH]), minlength=len(LENGTHS)).astype(np.float64)


def owners(tune: Tune, rows: Tune) -> NDArray[np.int64]:
    """The bar in which each note begins. [N]"""
    found: NDArray[np.int64] = np.searchsorted(bars(tune)[:, START], rows[:, START], "right") - 1
    return found


def silent(tune: Tune) -> tuple[int, int]:
    """Bars in which a voice of the tune says nothing, and bars times voices."""
    own, count = notes(tune), len(bars(tune))
    empty, voices = 0, np.unique(own[:, VOICE])
    ends = bars(tune)[:, START] + bars(tune)[:, LENGTH]
    for voice in voices.tolist():
        rows = own[own[:, VOICE] == voice]
        first, last = owners(tune, rows), np.searchsorted(ends, rows[:, START] + rows[:, LENGTH], "left")
        heard = np.zeros(count + 1)
        np.add.at(heard, first, 1)
        np.add.at(heard, np.minimum(last, count - 1) + 1, -1)
        empty += int((heard.cumsum()[:count] <= 0).sum())
    return empty, count * max(1, len(voices))


def used(tune: Tune) -> Array:
    """How many pitch classes each bar uses. [B]"""
    own = pitched(tune)
    cells = np.zeros((max(1, len(bars(tune))), 12), bool)
    cells[owners(tune, own), own[:, PITCH] % 12] = True
    count: Array = cells.sum(1).astype(np.float64)
    return count


def likeness(tune: Tune) -> float:
    """How like its most alike one of the last eight a bar is on average, by what is struck and when: 0 … 1; NaN for one bar."""
    frame, own = bars(tune), notes(tune)
    if len(frame) < 2:
        return math.nan
    at = owners(tune, own)
    keys = (own[:, START] - frame[at, START]) * 2048 + own[:, VOICE] * 128 + own[:, PITCH]
    sets = [frozenset(keys[at == bar].tolist()) for bar in range(len(frame))]
    best = [max(_jaccard(sets[bar], other) for other in sets[max(0, bar - REACH) : bar]) for bar in range(1, len(frame))]
    return float(np.mean(best))


def _jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    return len(a & b) / max(1, len(a | b))


_TURN = np.arange(12)[:, None] * np.array([[7 * math.pi / 6, 3 * math.pi / 2, 2 * math.pi / 3]])
CENTROIDS = np.concatenate([np.sin(_TURN) * [1, 1, 0.5], np.cos(_TURN) * [1, 1, 0.5]], 1)  # [12, 6]: fifths, minor and major thirds


def apart(tune: Tune) -> float:
    """Mean tonal distance between two voices that sound in the same bar; NaN for one voice."""
    own = pitched(tune)
    voices, where = np.unique(own[:, VOICE], return_inverse=True)
    cells = np.zeros((len(bars(tune)), len(voices), 12))
    if len(voices) < 2:
        return math.nan
    np.add.at(cells, (owners(tune, own), where.ravel(), own[:, PITCH] % 12), own[:, LENGTH])
    total = cells.sum(2, keepdims=True)
    place = cells / np.maximum(total, 1e-9) @ CENTROIDS  # [B, V, 6]
    first, last = np.triu_indices(len(voices), 1)
    both = (total[:, first, 0] > 0) & (total[:, last, 0] > 0)
    gap = np.linalg.norm(place[:, first] - place[:, last], axis=2)
    return float(gap[both].mean()) if both.any() else math.nan
