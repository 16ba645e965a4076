"""Waveform ↔ log-mel grid: short-time spectra on the mel scale, and the fast way back without a network.

Forward: magnitudes of the short-time Fourier transform under a Hann window, averaged by triangles that are evenly spaced in
mel (O'Shaughnessy 1987), in decibels. Back: the least nonnegative magnitudes that have these averages (multiplicative
updates, Lee & Seung 2001), a first phase from the peaks of each spectrum (Beauregard et al. 2015: single pass inversion),
then the fast Griffin-Lim iteration (Perraudin et al. 2013). One wave at a time, so that a wave does not depend on its
neighbours by rounding. It does not know what is heard, nor the phase that a sound had.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

FLOOR = 1e-5  # magnitude that counts as nothing, of a full-scale wave
MOMENTUM = 0.99
ROUNDS = 16  # of Griffin-Lim; twice as many bring a fiftieth
NONNEGATIVE = 24  # multiplicative updates
SEEN = 60.0  # decibels under the loudest that a portrait shows


@dataclass(frozen=True)
class Analysis:
    """How sound is cut up.

    Attributes:
        rate: Samples a second.
        window: Samples of a window; also the length of the Fourier transform.
        hop: Samples from one frame to the next.
        mels: Bands.
    """

    rate: int
    window: int
    hop: int
    mels: int


def mel(hertz: float) -> float:
    """The mel scale."""
    return 2595 * math.log10(1 + hertz / 700)


@lru_cache(maxsize=16)
def bands(how: Analysis) -> Tensor:
    """Weights of the bands over the frequencies; each row sums to 1. [mels, bins]"""
    edges = 700 * (10 ** (torch.linspace(0, mel(how.rate / 2), how.mels + 2, dtype=torch.float64) / 2595) - 1)
    bins = torch.arange(how.window // 2 + 1, dtype=torch.float64) * how.rate / how.window
    width = how.rate / how.window  # a triangle narrower than a bin would fall between two
    low = torch.minimum(edges[:-2], edges[1:-1] - width)[:, None]
    high = torch.maximum(edges[2:], edges[1:-1] + width)[:, None]
    middle = edges[1:-1, None]
    rows = torch.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)).clamp(min=0)
    return (rows / rows.sum(1, keepdim=True)).float()


def spectrum(wave: Tensor, how: Analysis) -> Tensor:
    """Complex short-time spectrum of waves whose length is a multiple of the hop. [B, N] → [B, bins, N / hop]"""
    shape = how.window, how.hop, how.window
    found = torch.stft(wave, *shape, torch.hann_window(how.window), pad_mode="constant", return_complex=True)
    return found[..., :-1] / (how.window / 4)  # a full-scale sine has magnitude 1


def waveform(spectra: Tensor, how: Analysis) -> Tensor:
    """The waves whose spectra are nearest to these (Griffin & Lim 1984). [B, bins, T] → [B, T · hop]"""
    whole = F.pad(spectra, (0, 1)) * (how.window / 4)
    shape = how.window, how.hop, how.window, torch.hann_window(how.window)
    return torch.istft(whole, *shape, length=spectra.shape[-1] * how.hop)


def log_mel(wave: Tensor, how: Analysis) -> Tensor:
    """Decibels of each band. [B, N] → [B, mels, N / hop]"""
    return 20 * (bands(how) @ spectrum(wave, how).abs()).clamp(min=FLOOR).log10()


def magnitudes(decibels: Tensor, how: Analysis) -> Tensor:
    """Nonnegative magnitudes whose band averages are these. [..., mels, T] → [..., bins, T]"""
    weights, wanted = bands(how), 10 ** (decibels / 20)
    spread = weights / weights.sum(0, keepdim=True).clamp(min=1e-6)
    found = (spread.T @ wanted).clamp(min=FLOOR)
    above, gram = weights.T @ wanted, weights.T @ weights
    for _ in range(NONNEGATIVE):
        found = found * above / (gram @ found).clamp(min=1e-9)
    return found


def first_phase(size: Tensor, how: Analysis) -> Tensor:
    """Phases in which the peaks of each spectrum run on from frame to frame. [bins, T] → [bins, T] radians"""
    inner = size[1:-1]
    left, right = size[:-2], size[2:]
    peak = F.pad((inner > left) & (inner >= right), (0, 0, 1, 1))
    bend = (left - 2 * inner + right).clamp(max=-1e-9)
    offset = F.pad(0.5 * (left - right) / bend, (0, 0, 1, 1)).clamp(-0.5, 0.5)
    place = torch.arange(len(size))[:, None].float()
    # each bin belongs to its nearest peak and turns as fast as that one does
    below = torch.where(peak, place, -1e6).cummax(0).values
    above = torch.where(peak, place, 1e6).flip(0).cummin(0).values.flip(0)
    owner = torch.where(place - below <= above - place, below, above).clamp(0, len(size) - 1).long()
    speed = (owner + offset.gather(0, owner)) * (2 * math.pi * how.hop / how.window)
    phase = speed.double().cumsum(1)
    # bins next to each other on a lobe stand in opposite phase, as a centred window makes them
    return (phase + math.pi * (place.double() - owner)).remainder(2 * math.pi).float()


def phased(size: Tensor, how: Analysis, rounds: int = ROUNDS) -> Tensor:
    """A wave with these magnitudes. [bins, T] → [T · hop]"""
    now = torch.polar(size, first_phase(size, how))
    before = torch.zeros_like(now)
    for _ in range(rounds):
        rebuilt = spectrum(waveform(now[None], how), how)[0]
        ahead = rebuilt + MOMENTUM * (rebuilt - before)
        now, before = torch.polar(size, ahead.angle()), rebuilt
    return waveform(now[None], how)[0]


def invert(decibels: Tensor, how: Analysis, rounds: int = ROUNDS) -> Tensor:
    """A wave with this log-mel grid. [mels, T] → [T · hop]"""
    return phased(magnitudes(decibels, how), how, rounds)


def portrait(samples: np.ndarray, rate: int) -> np.ndarray:
    """A sound as a small picture by which it is recognised, whatever its loudness. [32, T] uint8"""
    hop = rate // 80
    wave = np.pad(samples.astype(np.float32) / 32767, (0, -len(samples) % hop))
    found = log_mel(torch.from_numpy(wave)[None], Analysis(rate, 2 * hop, hop, 32))[0].numpy()
    seen: np.ndarray = (255 * ((found - found.max() + SEEN) / SEEN).clip(0, 1)).round().astype(np.uint8)
    return seen
