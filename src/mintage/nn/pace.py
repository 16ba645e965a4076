"""How fast and how long a tune is played: at a tempo, or until a film ends.

A tune that has to last so many seconds is repeated, ended after a phrase of four bars, and then played a little faster or
slower. Whole bars count, not when the last note fades; tempos are whole beats a minute, so the length is met to about one
percent. It does not know where a melody comes to rest: a phrase is four bars from the tune's beginning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mintage.core.errors import UsageError
from mintage.core.words import say
from mintage.nn.midi import NOTES
from mintage.nn.tune import LENGTH, QUARTER, START, TEMPO, Tune, bars, excerpt, is_bar, notes, seconds

PHRASE = 4  # bars
TEMPOS = (20, 300)  # beats a minute that may be asked for
LASTS = (4, 600)  # seconds likewise


@dataclass(frozen=True)
class Pace:
    """What was asked for; 0 leaves a tune as it is.

    Attributes:
        tempo: Quarter notes a minute, on the average of the tune.
        seconds: How long it lasts.
    """

    tempo: float = 0.0
    seconds: float = 0.0

    @classmethod
    def read(cls, options: Mapping[str, str]) -> Pace:
        """From ``tempo=90`` and ``seconds=30``.

        Raises:
            UsageError: It is no number, or none that a tune can have.
        """
        found = {}
        for name, (low, high) in (("tempo", TEMPOS), ("seconds", LASTS)):
            try:
                found[name] = float(options.get(name, 0))
            except ValueError:
                found[name] = math.nan
            if name in options and not low <= found[name] <= high:
                sentence = "-o {name}={value}: give a number from {low} to {high}."
                raise UsageError(say(sentence, name=name, value=options[name], low=low, high=high))
        return cls(**found)

    def __call__(self, tune: Tune) -> Tune:
        """The tune as it was asked for: the tempo first, and then the length at about that tempo."""
        if self.tempo and len(bars(tune)):
            tune = _faster(tune, self.tempo * seconds(tune) * QUARTER / 60 / int(bars(tune)[:, LENGTH].sum()))
        return _lasting(tune, self.seconds) if self.seconds and len(bars(tune)) else tune


def _faster(tune: Tune, times: float) -> Tune:
    """The same with every tempo multiplied."""
    found, where = tune.copy(), is_bar(tune)
    found[where, TEMPO] = np.clip(np.rint(found[where, TEMPO] * times), 10, 400)
    return found


def _ends(tune: Tune) -> NDArray[np.float64]:
    """When each bar ends, in seconds. [B]"""
    own = bars(tune)
    found: NDArray[np.float64] = np.cumsum(own[:, LENGTH] / QUARTER * 60 / np.maximum(1, own[:, TEMPO]))
    return found


def _sounding(tune: Tune) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """In which bars notes sound, and how many begin in each. [B], [B]"""
    own, ends = notes(tune), np.cumsum(bars(tune)[:, LENGTH])
    first = np.searchsorted(ends, own[:, START], "right").clip(max=len(ends) - 1)
    last = np.searchsorted(ends, own[:, START] + own[:, LENGTH]).clip(max=len(ends) - 1)
    change = np.bincount(first, minlength=len(ends) + 1) - np.bincount(last + 1, minlength=len(ends) + 1)
    return change.cumsum()[:-1] > 0, np.bincount(first, minlength=len(ends))


def _lasting(tune: Tune, wanted: float) -> Tune:
    """Repeated and ended where a phrase does, as near to the wanted length as it comes; the rest is tempo."""
    once, ends = len(bars(tune)), _ends(tune)
    rounds = max(1, math.ceil(wanted / ends[-1])) + 1
    stops = np.arange(1, rounds * once + 1)
    stops = stops[(stops % once % PHRASE == 0) | (stops < PHRASE)]  # the end of the tune ends a phrase too
    sounds, begin = _sounding(tune)
    count = np.tile(begin, rounds).cumsum()
    stops = stops[sounds[(stops - 1) % once] & (count[stops - 1] <= NOTES)]  # silent bars at the end would fall away
    if not len(stops):
        return tune
    lasts = (stops - 1) // once * ends[-1] + ends[(stops - 1) % once]
    stop = int(stops[np.abs(np.log(lasts / wanted)).argmin()])
    span = int(bars(tune)[:, LENGTH].sum())
    turns = []
    for turn in range(-(-stop // once)):
        again = tune.copy()
        again[:, START] += turn * span
        turns.append(again)
    long = excerpt(np.concatenate(turns), 0, stop)
    return _faster(long, seconds(long) / wanted)
