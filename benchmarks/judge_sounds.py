"""Judge made clips of speech from outside: small networks that read which word it is, and who says it.

They are trained here, on real labelled clips only, and share no code with the library: their own log-mel front end (25 ms
windows every 10 ms), three convolutions, shifts and noise in training. Every number stands beside what real held-out clips
score. They hear words and voices of this one collection, not whether a clip is pleasant.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly
from torch import Tensor, nn
from torch.nn import functional as F

RATE, WINDOW, HOP, BANDS = 8000, 256, 80, 40
FRAMES = 80  # 0.8 s
Waves = list[NDArray[np.float32]]


def read(path: Path) -> NDArray[np.float32]:
    """A clip as the judge hears it: mono, 8 kHz."""
    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return at_rate(wave.mean(1), rate)


def at_rate(wave: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """The same at 8 kHz."""
    common = gcd(rate, RATE)
    return wave if rate == RATE else resample_poly(wave, RATE // common, rate // common).astype(np.float32)


def _bands() -> Tensor:
    """Triangles even on the mel scale. [40, 129]"""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    bins = np.arange(WINDOW // 2 + 1) * RATE / WINDOW
    rows = [
        np.minimum((bins - a) / (b - a), (c - bins) / (c - b)).clip(0) for a, b, c in zip(edges, edges[1:], edges[2:], strict=False)
    ]
    return torch.from_numpy(np.stack(rows)).float()


def heard(waves: Waves) -> Tensor:
    """Clips → log-mel pictures of 0.8 s from the first sound on, each of zero mean and unit variance. [N, 1, 40, 80]"""
    rows, bands, window = [], _bands(), torch.hann_window(WINDOW)
    for wave in waves:
        loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max(initial=1e-6))
        x = torch.from_numpy(np.ascontiguousarray(wave[max(0, loud[0] - HOP) : loud[-1] + HOP] if len(loud) else wave))
        x = F.pad(x, (0, max(0, FRAMES * HOP - len(x))))[: FRAMES * HOP]
        power = torch.stft(x, WINDOW, HOP, window=window, return_complex=True).abs().square()[:, :FRAMES]
        mel = (bands @ power).clamp(min=1e-9).log()
        mel = mel.clamp(min=float(mel.max()) - 9)
        rows.append((mel - mel.mean()) / mel.std().clamp(min=1e-3))
    return torch.stack(rows)[:, None]


class Net(nn.Module):
    """Four convolutions, then the mean and the deviation of each channel over time."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        sizes = [1, width, width, 2 * width, 2 * width]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in sizes[1:])
        self.hidden, self.head = nn.Linear(2 * width * 5 * 2, 96), nn.Linear(96, classes)

    def forward(self, x: Tensor) -> Tensor:  # [B, 1, 40, T] -> [B, classes]
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.relu(norm(conv(x)))
            x = F.max_pool2d(x, 2) if i < 3 else x
        x = torch.cat([x.mean(3), x.std(3)], 1).flatten(1)
        return self.head(F.dropout(F.relu(self.hidden(F.dropout(x, 0.3, self.training))), 0.3, self.training))


@dataclass(frozen=True)
class Judge:
    """A net and the names it can read."""

    net: Net
    names: tuple[str, ...]

    @torch.no_grad()
    def read(self, waves: Waves) -> list[str]:
        """What each clip is taken for."""
        return [self.names[i] for part in heard(waves).split(250) for i in self.net(part).argmax(1).tolist()]


def fit(waves: Waves, labels: list[str], steps: int = 500, seed: int = 0) -> Judge:
    """Train on real clips, moved in time and in pitch by a little and with some noise."""
    torch.manual_seed(seed)
    names = tuple(sorted(set(labels)))
    x, y = heard(waves), torch.tensor([names.index(label) for label in labels])
    net = Net(len(names)).to(memory_format=torch.channels_last)
    optim = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.02)
    rate = torch.optim.lr_scheduler.OneCycleLR(optim, 4e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (64,))
        seen = x[rows].roll((int(torch.randint(-1, 2, ())), int(torch.randint(-6, 7, ()))), (2, 3))
        seen = seen + 0.3 * torch.rand(64, 1, 1, 1) * torch.randn_like(seen)
        loss = F.cross_entropy(net(seen), y[rows], label_smoothing=0.05)
        optim.zero_grad()
        loss.backward()
        optim.step()
        rate.step()
    return Judge(net.eval(), names)


def share(read: list[str], wanted: list[str]) -> float:
    """How often what was read is what was wanted."""
    return float(np.mean([a == b for a, b in zip(read, wanted, strict=True)]))
