"""From log-mel grids back to the fine spectrum, learned on a person's own sounds: a vocoder whose phase is still found.

A mel band averages many frequencies; what stood where (the harmonics of a voice, the ring of a bell) can be guessed from
its surroundings. A small net of one-dimensional ConvNeXt blocks (Liu et al., 2201.03545; for sound Siuzdak, 2306.00814)
says by how much each magnitude differs from the smooth answer of ``spectral.magnitudes``, as the last net of Tacotron does
(Wang et al., 1703.10135), and Griffin-Lim finds the phase. On spoken digits 20 s of training bring the magnitudes a third
nearer; nets that also predicted the phase did not come as far in two minutes. It knows no sounds but those it was shown.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mintage.nn import spectral
from mintage.nn.noise import Noise
from mintage.nn.spectral import Analysis

WIDTH, DEPTH, WIDER = 128, 4, 3
LEAST = 1e-4  # magnitudes below this are not told apart
SPAN = 48  # frames of a training piece
BATCH = 32
RATE = 2e-3
GRAIN = 1.5  # decibels of noise on the grid: what is made is less exact than what is recorded
JUDGED = 24  # held-out sounds
WORTH = 0.97  # of the smooth answer's error, at most


class Block(nn.Module):
    """Seven frames each band alone, then all bands of a frame; ends in zeros, so a new one does nothing."""

    def __init__(self, width: int) -> None:
        """The width is kept."""
        super().__init__()
        self.along = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.first, self.second = nn.Linear(width, WIDER * width), nn.Linear(WIDER * width, width)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] → the same."""
        h = self.norm(self.along(x).transpose(1, 2))
        found: Tensor = x + self.second(F.gelu(self.first(h))).transpose(1, 2)
        return found


class Restorer(nn.Module):
    """Decibels of bands → how much each log magnitude differs from the smooth one."""

    def __init__(self, how: Analysis) -> None:
        """Sizes by the analysis; starts at no difference."""
        super().__init__()
        self.how = how
        self.enter = nn.Conv1d(how.mels, WIDTH, 5, padding=2)
        self.blocks = nn.Sequential(*(Block(WIDTH) for _ in range(DEPTH)))
        self.leave = nn.Conv1d(WIDTH, how.window // 2 + 1, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, decibels: Tensor) -> Tensor:
        """[B, mels, T] → [B, bins, T]"""
        found: Tensor = self.leave(self.blocks(self.enter(decibels.clamp(min=-100) / 20 + 3)))
        return found

    @torch.no_grad()
    def magnitudes(self, decibels: Tensor) -> Tensor:
        """[mels, T] → [bins, T]"""
        smooth = spectral.magnitudes(decibels, self.how)
        found: Tensor = smooth.clamp(min=LEAST) * self(decibels[None])[0].exp()
        return torch.where(smooth > spectral.FLOOR, found, smooth)


class Lesson:
    """The training of a restorer: pieces of grids, and how their magnitudes differ from the smooth ones."""

    def __init__(self, how: Analysis, waves: Sequence[Tensor], scale: tuple[float, float], noise: Noise) -> None:
        """``waves`` [N] are long enough for a hop each; ``scale`` is the level of silence and the loudest."""
        with noise.fork("weights").seeded():
            self.net = Restorer(how)
        self.how, self.noise, self.scale, self.at = how, noise, scale, 0
        self.pairs = [self._pair(wave) for wave in waves]
        self.optim = torch.optim.AdamW(self.net.parameters(), RATE, betas=(0.9, 0.95))

    def _pair(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        fine = spectral.spectrum(F.pad(wave, (0, -len(wave) % self.how.hop))[None], self.how)[0].abs()
        grid = seen(spectral.bands(self.how) @ fine, self.scale)
        smooth = spectral.magnitudes(grid, self.how).clamp(min=LEAST).log()
        return grid, fine.clamp(min=LEAST).log() - smooth

    def step(self, progress: float) -> float:
        """One update; the loss."""
        noise = self.noise.fork("step", self.at)
        self.at += 1
        grids, wanted = [], []
        for i, place in zip(noise.integers(0, len(self.pairs), (BATCH,)).tolist(), noise.uniform((BATCH,)).tolist(), strict=True):
            decibels, change = self.pairs[i]
            more = max(0, SPAN - decibels.shape[1])
            start = int(place * (decibels.shape[1] + more - SPAN + 1))
            grids.append(F.pad(decibels, (0, more), value=-200.0)[:, start : start + SPAN])
            wanted.append(F.pad(change, (0, more))[:, start : start + SPAN])
        x, y = torch.stack(grids), torch.stack(wanted)
        x = torch.where(x > -150, x + GRAIN * noise.normal(x.shape), x)
        for group in self.optim.param_groups:
            group["lr"] = RATE * min(1.0, 2 * (1 - progress))
        with torch.autocast("cpu", torch.bfloat16):
            said = self.net(x)
        loss = (said.float() - y).abs().mean()
        self.optim.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optim.step()
        return float(loss.detach())

    def pace(self) -> float:
        """Seconds of a step, measured on three."""
        begin = time.perf_counter()
        for _ in range(3):
            self.step(0.0)
        return (time.perf_counter() - begin) / 3


def seen(average: Tensor, scale: tuple[float, float]) -> Tensor:
    """Band averages as a grid of bytes keeps them: decibels in steps, silence below the scale. [mels, T]"""
    low, high = scale
    level = 20 * average.clamp(min=spectral.FLOOR).log10()
    bytes_ = ((level - low) * (255 / (high - low))).round().clamp(0, 255)
    return torch.where(bytes_ > 0, bytes_ * ((high - low) / 255) + low, -200.0)


def error(waves: Sequence[Tensor], how: Analysis, scale: tuple[float, float], net: Restorer | None) -> float:
    """Decibels by which waves that went through the grid and back differ from themselves, in a spectrum twice as fine."""
    fine, parts = Analysis(how.rate, 2 * how.window, how.hop, how.mels), []
    for wave in waves[:JUDGED]:
        wave = F.pad(wave, (0, -len(wave) % how.hop))
        grid = seen(spectral.bands(how) @ spectral.spectrum(wave[None], how)[0].abs(), scale)
        size = net.magnitudes(grid) if net is not None else spectral.magnitudes(grid, how)
        both = torch.stack([wave, spectral.phased(size, how)])
        levels = 20 * spectral.spectrum(both, fine).abs().clamp(min=LEAST).log10()
        parts.append((levels[0] - levels[1]).abs().mean())
    return float(torch.stack(parts).mean())
