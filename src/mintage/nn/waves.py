"""Numerics of waves: another rate, loudness, silence at the ends, fades, safe peaks.

All of a wave is one array of float32 samples in −1…1. It does not know files or spectra.
"""

from __future__ import annotations

import math
from math import gcd

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]
FRAME = 0.01  # seconds over which loudness is taken
QUIET = 48.0  # decibels under the loudest frame that count as silence
MARGIN = 0.02  # seconds kept around what is heard
LOUDEST = 0.2  # share of the frames that give a wave its loudness
NOTHING = 1e-5  # root mean square that is silence


def resampled(wave: Wave, rate: int, wanted: int) -> Wave:
    """The same sound at another rate, by cutting or padding its spectrum. [N] → [N · wanted / rate]"""
    if rate == wanted or not len(wave):
        return wave
    common = gcd(rate, wanted)
    down, up = rate // common, wanted // common
    room = max(32, rate // 20)  # the spectrum is that of a ring: silence keeps its end from its beginning
    blocks = math.ceil((len(wave) + room) / down)
    before = np.fft.rfft(wave, blocks * down)
    after = np.zeros(blocks * up // 2 + 1, before.dtype)
    n = min(len(before), len(after))
    after[:n] = before[:n]
    length = math.ceil(len(wave) * up / down)
    found: Wave = (np.fft.irfft(after, blocks * up)[:length] * (up / down)).astype(np.float32)
    return found


def frames(wave: Wave, rate: int) -> Wave:
    """Root mean square of each frame, the last one padded. [T]"""
    step = max(1, round(FRAME * rate))
    padded = np.pad(wave, (0, -len(wave) % step)).reshape(-1, step)
    found: Wave = np.sqrt(np.square(padded, dtype=np.float32).mean(1))
    return found


def loudness(wave: Wave, rate: int) -> float:
    """Decibels of the loudest fifth of the frames, below full scale."""
    power = np.sort(np.square(frames(wave, rate)))
    return 10 * math.log10(max(1e-12, float(power[-max(1, math.ceil(LOUDEST * len(power))) :].mean())))


def trimmed(wave: Wave, rate: int) -> Wave:
    """Without the silence at both ends; empty if there is nothing else."""
    power = frames(wave, rate)
    limit = max(NOTHING, float(power.max(initial=0)) * 10 ** (-QUIET / 20))
    heard = np.flatnonzero(power > limit)
    if not len(heard):
        return wave[:0]
    step, room = max(1, round(FRAME * rate)), round(MARGIN * rate)
    return wave[max(0, int(heard[0]) * step - room) : (int(heard[-1]) + 1) * step + room]


def faded(wave: Wave, rate: int, rise: float, fall: float) -> Wave:
    """A soft beginning and end, so that nothing clicks."""
    found = wave.astype(np.float32, copy=True)
    for seconds, part in ((rise, found), (fall, found[::-1])):
        n = min(len(part) // 2, round(seconds * rate))
        part[:n] *= 0.5 - 0.5 * np.cos(np.pi * (np.arange(n, dtype=np.float32) + 0.5) / max(1, n))
    return found


def bounded(wave: Wave, peak: float) -> Wave:
    """Turned down as a whole where it would pass the peak."""
    most = float(np.abs(wave).max(initial=0))
    return wave * np.float32(peak / most) if most > peak else wave


def as_integers(wave: Wave) -> NDArray[np.int16]:
    """16-bit samples."""
    found = np.rint(np.clip(wave, -1, 1) * 32767).astype(np.int16)
    return found


def as_floats(samples: NDArray[np.int16]) -> Wave:
    """Samples in −1…1."""
    found: Wave = samples.astype(np.float32) / np.float32(32767)
    return found
