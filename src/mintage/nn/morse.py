"""The audible sign of a sound made by AI: the letters A and I in Morse, ``·− ··``, after the sound (GB 45438-2025, §5.3).

A soft tone of 1046.5 Hz in the rhythm short-long, short-short. It is put behind the sound and a pause, never over it, and
found again by its rhythm, so that it can be read (and cut off) after lossy coding too. It does not survive being cut off.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HERTZ = 1046.5
UNIT = 0.09  # seconds of a dot; a dash is three, the pause in a letter one, between letters three
PAUSE = 0.15  # seconds before it
LEVEL = 0.06  # of full scale
EDGE = 0.01  # seconds in which a tone rises and falls
RHYTHM = (1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1)  # ·− ··
FINE = 6  # looks a unit
SLACK = 0.25  # seconds that an encoder may add after it
SURE = 0.9  # correlation with the rhythm

Samples = NDArray[np.int16]


def sign(rate: int) -> Samples:
    """Pause and rhythm. [N]"""
    on = np.repeat(np.array(RHYTHM, np.float64), round(UNIT * rate))
    edge = np.hanning(2 * round(EDGE * rate) + 1)
    on = np.convolve(on, edge / edge.sum(), "same")
    wave = LEVEL * on * np.sin(2 * np.pi * HERTZ * np.arange(len(on)) / rate)
    return np.concatenate([np.zeros(round(PAUSE * rate), np.int16), np.rint(wave * 32767).astype(np.int16)])


def signed(samples: Samples, rate: int) -> Samples:
    """The sound with its sign after it."""
    return np.concatenate([samples, sign(rate)])


def begins(samples: Samples, rate: int) -> int:
    """Sample where the pause before the sign begins, to within some milliseconds; −1 where there is no sign."""
    step, pause, length = max(1, round(UNIT * rate / FINE)), round(PAUSE * rate), len(RHYTHM) * round(UNIT * rate)
    start = max(0, len(samples) - length - pause - round(SLACK * rate))
    tail = samples[start:].astype(np.float64) / 32767
    if len(tail) < length:
        return -1
    turned = tail * np.exp(-2j * np.pi * HERTZ * np.arange(len(tail)) / rate)
    looks = turned[: len(tail) // step * step].reshape(-1, step).mean(1)
    strength = 2 * np.abs(np.convolve(looks, np.ones(3) / 3, "same"))
    wanted = np.repeat(np.array(RHYTHM, np.float64), FINE)
    wanted = np.concatenate([np.zeros(FINE), wanted, np.zeros(FINE)])
    strength = np.concatenate([strength, np.zeros(FINE)])
    best, place = 0.0, -1
    for at in range(len(strength) - len(wanted) + 1):
        seen = strength[at : at + len(wanted)]
        spread = seen.std() * wanted.std() * len(wanted)
        if seen.max() < LEVEL / 4 or not spread:
            continue
        alike = float((seen - seen.mean()) @ (wanted - wanted.mean())) / spread
        if alike > best:
            best, place = alike, at
    return max(0, start + (place + FINE + 1) * step - pause) if best >= SURE else -1
