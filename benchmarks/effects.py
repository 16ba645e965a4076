"""Sounds for a game, made by rule: eight kinds, every one with its own pitch, pace and noise.

They are clips that anybody may make again, 16 kHz, half a second to a second and a quarter long; no recording of the world, and
simpler than one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

RATE = 16_000
Wave = NDArray[np.float64]


def _time(seconds: float) -> Wave:
    return np.arange(round(seconds * RATE)) / RATE


def _tone(pitch: Wave | float, t: Wave) -> Wave:
    """A sine whose pitch in hertz may change."""
    return np.sin(2 * np.pi * np.cumsum(np.broadcast_to(pitch, t.shape)) / RATE)


def _noise(draw: np.random.Generator, n: int, low: float, high: float) -> Wave:
    """Noise between two pitches."""
    return sosfilt(butter(2, (low, high), "bandpass", fs=RATE, output="sos"), draw.normal(size=n))


def laser(draw: np.random.Generator) -> Wave:
    """A pitch that falls fast."""
    t, fall = _time(draw.uniform(0.5, 0.8)), draw.uniform(5, 12)
    return _tone(300 + draw.uniform(1500, 4000) * np.exp(-fall * t), t) * np.exp(-draw.uniform(2, 5) * t)


def coin(draw: np.random.Generator) -> Wave:
    """Two high notes, the second a fourth above and left to ring."""
    t, pitch, turn = _time(draw.uniform(0.6, 0.9)), draw.uniform(700, 1400), draw.uniform(0.06, 0.12)
    wave = _tone(np.where(t < turn, pitch, pitch * 4 / 3), t)
    return (wave + 0.3 * np.sign(wave)) * np.exp(-draw.uniform(3, 6) * np.maximum(t - turn, 0))


def explosion(draw: np.random.Generator) -> Wave:
    """Low noise that dies away, over a thud."""
    t = _time(draw.uniform(0.9, 1.25))
    rumble = _noise(draw, len(t), 40, draw.uniform(400, 1200)) * np.exp(-draw.uniform(3, 6) * t)
    return rumble + 0.4 * _tone(60 * np.exp(-2 * t) + 30, t) * np.exp(-6 * t)


def siren(draw: np.random.Generator) -> Wave:
    """A pitch that swings up and down."""
    t, middle = _time(draw.uniform(0.9, 1.25)), draw.uniform(600, 1100)
    swing = np.sin(2 * np.pi * draw.uniform(1.5, 4) * t + draw.uniform(0, 6.28))
    wave = _tone(middle * (1 + draw.uniform(0.25, 0.5) * swing), t)
    return wave + 0.3 * wave**3


def knocks(draw: np.random.Generator) -> Wave:
    """Two to four dull knocks."""
    count, gap, pitch = int(draw.integers(2, 5)), draw.uniform(0.16, 0.26), draw.uniform(120, 260)
    t = _time(0.1 + gap * count)
    wave = np.zeros_like(t)
    for k in range(count):
        since = t - gap * k
        struck = np.where(since >= 0, np.exp(-45 * np.abs(since)), 0.0)
        wave += struck * (np.sin(2 * np.pi * pitch * since) + 0.4 * _noise(draw, len(t), 200, 1500)) * draw.uniform(0.7, 1)
    return wave


def rain(draw: np.random.Generator) -> Wave:
    """A hiss with single drops in it."""
    t = _time(draw.uniform(0.9, 1.25))
    drops = (draw.random(len(t)) < draw.uniform(0.001, 0.006)) * draw.uniform(2, 6, len(t))
    ring = np.exp(-np.arange(160) / 24) * np.sin(2 * np.pi * draw.uniform(2500, 4500) * np.arange(160) / RATE)
    return 0.25 * _noise(draw, len(t), 1500, 7000) + np.convolve(drops, ring)[: len(t)]


def bell(draw: np.random.Generator) -> Wave:
    """A struck bell with its five partials, out of tune with each other as bells are."""
    t, pitch = _time(draw.uniform(0.9, 1.25)), draw.uniform(350, 800)
    partials = zip((0.5, 1, 1.19, 1.5, 2, 2.74), (0.4, 1, 0.6, 0.4, 0.8, 0.5), strict=True)
    return sum(a * _tone(k * pitch, t) * np.exp(-(1 + k) * draw.uniform(0.8, 1.6) * t) for k, a in partials)


def engine(draw: np.random.Generator) -> Wave:
    """A motor that speeds up: harmonics of a low pitch, and some noise."""
    t = _time(draw.uniform(0.9, 1.25))
    pitch = draw.uniform(40, 70) * (1 + draw.uniform(0.2, 0.8) * t)
    saw = sum(_tone(k * pitch, t) / k for k in range(1, 12))
    return saw + 0.15 * _noise(draw, len(t), 100, 900)


KINDS = {f.__name__: f for f in (laser, coin, explosion, siren, knocks, rain, bell, engine)}


def write(folder: Path, each: int, seed: int) -> Path:
    """A folder of each kind, with that many clips."""
    for k, (name, kind) in enumerate(KINDS.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            draw = np.random.default_rng([seed, k, i])
            wave = kind(draw)
            wave = wave / np.abs(wave).max() * draw.uniform(0.5, 0.95)
            wave[-200:] *= np.linspace(1, 0, 200)
            soundfile.write(folder / name / f"{i:03d}.wav", wave, RATE, subtype="PCM_16")
    return folder
