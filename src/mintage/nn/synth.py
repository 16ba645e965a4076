"""A small synthesiser, so that a tune can be heard at once: partials under an envelope, in a small room.

Additive synthesis (Risset & Mathews 1969): every family of instruments of General MIDI has its own strengths of partials,
attack, decay and release, higher partials die sooner, drums are a falling sine or shaped noise, voices stand apart in
stereo, and the room is an exponentially fading noise (Moorer 1979). It knows no real instrument and is no judge of sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mintage.nn.noise import Noise
from mintage.nn.tune import DRUMS, LENGTH, PITCH, PROGRAM, QUARTER, START, TEMPO, VELOCITY, VOICE, Tune, bars, notes

Wave = NDArray[np.float32]

RATE = 22_050  # samples a second
TAIL = 1.2  # seconds after the last note, for the room
ROOM, WET = 0.9, 0.10  # seconds in which an echo dies, and its share
PEAK = 0.89  # -1 dB
RINGS = 6.0  # seconds that one note sounds at most


@dataclass(frozen=True)
class Timbre:
    """How an instrument sounds.

    Attributes:
        partials: Strength of each multiple of the pitch.
        attack: Seconds until it is loud.
        decay: Seconds in which it falls to a third; 0 holds it.
        release: Seconds in which it dies when let go.
    """

    partials: tuple[float, ...]
    attack: float
    decay: float
    release: float


PIANO = Timbre((1, 0.55, 0.32, 0.2, 0.1, 0.07, 0.04), 0.004, 0.9, 0.12)
FAMILIES = (  # of General MIDI, eight programs each
    PIANO,
    Timbre((1, 0.1, 0.35, 0.05, 0.2), 0.002, 0.6, 0.2),  # chromatic percussion
    Timbre((1, 0.6, 0.4, 0.35, 0.1, 0.2, 0.05, 0.12), 0.015, 0, 0.06),  # organ
    Timbre((1, 0.6, 0.5, 0.25, 0.18, 0.1, 0.06), 0.003, 0.5, 0.1),  # guitar
    Timbre((1, 0.7, 0.3, 0.12, 0.05), 0.006, 0.7, 0.08),  # bass
    Timbre((1, 0.5, 0.35, 0.28, 0.18, 0.12, 0.08, 0.05), 0.06, 0, 0.12),  # strings
    Timbre((1, 0.5, 0.3, 0.22, 0.14, 0.1), 0.08, 0, 0.2),  # ensemble
    Timbre((1, 0.8, 0.65, 0.5, 0.35, 0.22, 0.15, 0.1), 0.04, 0, 0.08),  # brass
    Timbre((1, 0.15, 0.55, 0.12, 0.3, 0.06, 0.12), 0.03, 0, 0.07),  # reed
    Timbre((1, 0.35, 0.12, 0.05), 0.04, 0, 0.08),  # pipe
    Timbre((1, 0.5, 0.33, 0.25, 0.2, 0.16, 0.14), 0.01, 0, 0.06),  # lead
    Timbre((1, 0.4, 0.25, 0.15, 0.08), 0.15, 0, 0.3),  # pad
)


def timbre(program: int) -> Timbre:
    """The sound of a program of General MIDI."""
    return FAMILIES[program // 8] if program // 8 < len(FAMILIES) else PIANO


@lru_cache(maxsize=2048)
def _tone(pitch: int, samples: int, program: int) -> Wave:
    """One note held for so many samples, with its release. [n]"""
    own = timbre(program)
    base = 440.0 * 2 ** ((pitch - 69) / 12)
    n = samples + int(own.release * RATE)
    t = np.arange(n, dtype=np.float32) / RATE
    sound = np.zeros(n, np.float32)
    for k, strength in enumerate(own.partials, 1):
        if k * base > 0.45 * RATE:
            break
        fade = np.exp(-t * (1 + 0.35 * (k - 1)) / own.decay * 1.1) if own.decay else 1.0
        sound += (strength / k**0.3 * fade * np.sin(2 * np.pi * k * base * t + 0.7 * k)).astype(np.float32)
    sound *= np.minimum(1, t / own.attack)
    sound[samples:] *= np.linspace(1, 0, n - samples, dtype=np.float32) ** 2
    quiet = min(1.5, (440 / base) ** 0.25)  # the ear hears high tones louder
    whole: Wave = sound * np.float32(quiet / sum(own.partials))
    return whole


@lru_cache(maxsize=128)
def _drum(key: int) -> Wave:
    """One stroke. [n]"""
    t = np.arange(int(0.35 * RATE), dtype=np.float32) / RATE
    hiss = Noise("drum", key).normal((len(t),)).numpy()
    if key in (35, 36):  # bass drum
        sound = np.sin(2 * np.pi * (50 * t + 6 * (1 - np.exp(-t * 30)))) * np.exp(-t * 14)
    elif 41 <= key <= 50 and key not in (42, 44, 46, 49):  # toms
        sound = np.sin(2 * np.pi * (60 + 8 * (key - 41)) * t * (1 + 0.3 * np.exp(-t * 20))) * np.exp(-t * 12)
    elif key in (38, 40, 37, 39):  # snare
        sound = 0.5 * np.sin(2 * np.pi * 190 * t) * np.exp(-t * 25) + 0.4 * hiss * np.exp(-t * 20)
    else:  # cymbals and the rest: bright noise
        bright = np.diff(hiss, prepend=np.float32(0))
        sound = 0.3 * bright * np.exp(-t * (9 if key in (46, 49, 51, 57) else 45))
    stroke: Wave = (0.8 * sound).astype(np.float32)
    return stroke


@lru_cache(maxsize=1)
def _room() -> Wave:
    """What a click sounds like in the room, left and right. [n, 2]"""
    n = int(ROOM * RATE)
    fade = np.exp(-6.9 * np.arange(n) / n)[:, None]
    echo = Noise("room").normal((n, 2)).numpy() * fade
    echo[: int(0.012 * RATE)] = 0
    soft = np.cumsum(np.pad(echo, ((8, 0), (0, 0))), 0)
    soft = soft[8:] - soft[:-8]  # walls swallow the highest tones
    room: Wave = (soft / np.sqrt(np.square(soft).sum(0))).astype(np.float32)
    return room


def times(tune: Tune, ticks: NDArray[np.int32]) -> NDArray[np.float64]:
    """Seconds at which ticks fall, under the tempo of each bar."""
    own = bars(tune)
    each = own[:, LENGTH] / QUARTER * 60 / np.maximum(1, own[:, TEMPO])
    starts = np.concatenate([[0.0], np.cumsum(each)])
    at = np.clip(np.searchsorted(own[:, START], ticks, "right") - 1, 0, len(own) - 1)
    found: NDArray[np.float64] = starts[at] + (ticks - own[at, START]) / QUARTER * 60 / np.maximum(1, own[at, TEMPO])
    return found


def render(tune: Tune, most: float = 600.0) -> Wave:
    """The tune as sound, at most so many seconds of it. [n, 2] float32 in -1…1"""
    own = notes(tune)
    if not len(own):
        return np.zeros((RATE // 2, 2), np.float32)
    begin, end = times(tune, own[:, START]), times(tune, own[:, START] + own[:, LENGTH])
    heard = begin < most
    own, begin, end = own[heard], begin[heard], end[heard]
    sound = np.zeros((int((min(float(end.max()), most) + RINGS + TAIL) * RATE), 2), np.float32)
    voices = int(own[:, VOICE].max()) + 1
    for row, first, last in zip(own.tolist(), begin.tolist(), end.tolist(), strict=True):
        held = int(min(last - first, RINGS) * RATE)
        tone = _drum(row[PITCH]) if row[PROGRAM] == DRUMS else _tone(row[PITCH], max(held, 256), row[PROGRAM])
        side = 0.5 + 0.18 * (2 * row[VOICE] / max(1, voices - 1) - 1) if voices > 1 else 0.5
        at, loud = int(first * RATE), (row[VELOCITY] / 100) ** 1.5
        sound[at : at + len(tone), 0] += tone * np.float32(loud * np.cos(side * np.pi / 2))
        sound[at : at + len(tone), 1] += tone * np.float32(loud * np.sin(side * np.pi / 2))
    n = int(min(float(end.max()) + TAIL, most) * RATE)
    sound = _in_room(sound[:n])
    last_part = sound[-(RATE // 20) :]
    last_part *= np.linspace(1, 0, len(last_part), dtype=np.float32)[:, None]
    return sound * np.float32(PEAK / max(1e-6, float(np.abs(sound).max())))


def _in_room(sound: Wave) -> Wave:
    """With its echoes."""
    room = _room()
    size = 1 << (len(sound) + len(room)).bit_length()
    echo = np.fft.irfft(np.fft.rfft(sound, size, 0) * np.fft.rfft(room, size, 0), size, 0)[: len(sound)]
    mixed: Wave = ((1 - WET) * sound + WET * echo).astype(np.float32)
    return mixed
