"""Judge made clips from outside: small networks that read which action a person does, each taught without one person.

They are trained here, on real labelled clips only, and share no code with the library: their own decoding, frames and
frame differences through three convolutions a frame, then two over time. A real clip is read by the net that never saw
its person, which is the accuracy printed; a made clip by all of them together. They read these actions on this ground,
and not whether a clip looks good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 32


def decoded(path: Path) -> np.ndarray:
    """All frames of a file. [T, H, W, 3]"""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def seen(clips: np.ndarray | Tensor) -> Tensor:
    """Clips [N, T, H, W, 3] of bytes as the judge sees them: brightness, SIDE × SIDE, each of zero mean. [N, T, SIDE, SIDE]"""
    x = torch.as_tensor(clips).float().mean(-1) / 128
    x = F.interpolate(x, size=(SIDE, SIDE), mode="area")
    return x - x.mean((1, 2, 3), keepdim=True)


def windows(frames: np.ndarray, length: int, step: int, every: int = 4) -> np.ndarray:
    """Windows of ``length`` frames taken every ``step``. [n, length, H, W, 3]"""
    span = (length - 1) * step + 1
    starts = range(0, max(1, len(frames) - span + 1), every)
    return np.stack([frames[start : start + span : step] for start in starts if start + span <= len(frames)])


class Net(nn.Module):
    """Convolutions in each frame, then over time, then the mean and the maximum of time."""

    def __init__(self, classes: int, width: int = 24) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            (nn.Conv2d(2, width, 5, 2, 2), nn.Conv2d(width, width, 3, 2, 1), nn.Conv2d(width, 2 * width, 3, 2, 1))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in (width, width, 2 * width))
        self.place = nn.Linear(2 * width * 16, 64)
        self.times = nn.ModuleList((nn.Conv1d(64, 64, 3, padding=1), nn.Conv1d(64, 64, 3, padding=1)))
        self.head = nn.Linear(128, classes)

    def forward(self, x: Tensor) -> Tensor:  # [B, T, S, S] -> [B, classes]
        n, length = x.shape[:2]
        change = F.pad(x.diff(dim=1), (0, 0, 0, 0, 1, 0)) * 2
        y = torch.stack([x, change], 2).flatten(0, 1)  # [B T, 2, S, S]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            y = F.relu(norm(conv(y)))
        y = F.dropout(F.relu(self.place(y.flatten(1))), 0.3, self.training).view(n, length, 64).mT
        for conv in self.times:
            y = F.relu(conv(y))
        return self.head(F.dropout(torch.cat([y.mean(2), y.amax(2)], 1), 0.3, self.training))


@dataclass(frozen=True)
class Judge:
    """One net for each person, taught without that person."""

    nets: dict[str, Net]
    names: tuple[str, ...]
    real: float  # how often real clips of a person never seen are read right

    @torch.no_grad()
    def read(self, clips: np.ndarray) -> list[str]:
        """What all nets together take each clip [N, T, H, W, 3] for."""
        x = seen(clips)
        answer = torch.stack([torch.cat([net(part) for part in x.split(64)]).softmax(1) for net in self.nets.values()]).mean(0)
        return [self.names[i] for i in answer.argmax(1).tolist()]


def taught(x: Tensor, y: Tensor, classes: int, steps: int, seed: int) -> Net:
    """One net on clips [N, T, S, S], shifted and mirrored, in other light, with noise."""
    torch.manual_seed(seed)
    net = Net(classes)
    optim = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(optim, 4e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (24,))
        clip = x[rows].roll((int(torch.randint(-3, 4, ())), int(torch.randint(-3, 4, ()))), (2, 3))
        clip = clip.flip(3) if torch.rand(()) < 0.5 else clip
        clip = clip * (0.7 + 0.6 * torch.rand(24, 1, 1, 1)) + 0.1 * torch.rand(24, 1, 1, 1) * torch.randn_like(clip)
        loss = F.cross_entropy(net(clip), y[rows], label_smoothing=0.05)
        optim.zero_grad()
        loss.backward()
        optim.step()
        rate.step()
    return net.eval()


def fit(clips: Sequence[np.ndarray], labels: Sequence[str], people: Sequence[str], steps: int = 250) -> Judge:
    """Teach one net without each person. ``clips`` are windows [n, T, H, W, 3] of each file."""
    names = tuple(sorted(set(labels)))
    x = torch.cat([seen(clip) for clip in clips])
    count = [len(clip) for clip in clips]
    y = torch.tensor([names.index(label) for label, n in zip(labels, count, strict=True) for _ in range(n)])
    who = np.repeat(np.array(people), count)
    nets, right = {}, 0
    for k, person in enumerate(sorted(set(people))):
        mine = torch.from_numpy(who == person)
        nets[person] = taught(x[~mine], y[~mine], len(names), steps, k)
        with torch.no_grad():
            right += int((nets[person](x[mine]).argmax(1) == y[mine]).sum())
    return Judge(nets, names, right / len(x))
