"""One noise: every random number of Mintage, keyed so that it can be drawn again exactly.

A ``Noise`` is a path of keys, not a stream: ``Noise(seed).fork("train", 120, "flow")`` is the same noise whenever and
wherever it is made, so a resumed training and a restarted sampler draw what the first one drew. In sampling each row
has its own seed (``Noise.rows_of``), so sample k does not depend on its neighbours. The generator is torch's Philox /
Mersenne engine on the CPU, seeded by BLAKE2b over the path. It knows nothing of models or tasks.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 256  # points that a chooser draws at once


def _seed_of(path: tuple[object, ...]) -> int:
    digest = hashlib.blake2b("/".join(map(str, path)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1  # torch wants a non-negative int64


class Noise:
    """Keyed randomness. Each draw advances a counter, so two draws from one Noise differ and their order matters.

    Attributes:
        rows: Number of independently seeded rows in sampling; 0 in training, where one stream fills the whole batch.
    """

    def __init__(self, *path: object, rows: Sequence[int] = ()) -> None:
        """``path`` is the key; ``rows`` the seeds of the samples, one a row."""
        self._path = path
        self._seeds = tuple(rows)
        self.rows = len(self._seeds)
        self._draws = 0

    @classmethod
    def rows_of(cls, seeds: Sequence[int]) -> Noise:
        """Noise of a sampler: row b is drawn from ``seeds[b]`` alone."""
        return cls("sample", rows=seeds)

    def fork(self, *key: object) -> Noise:
        """An independent noise under this one."""
        return Noise(*self._path, *key, rows=self._seeds)

    def row(self, b: int) -> Noise:
        """The noise of one row alone."""
        return Noise(*self._path, rows=self._seeds[b : b + 1])

    def _generators(self) -> Iterator[torch.Generator]:
        self._draws += 1
        for seed in self._seeds or (None,):
            path = (*self._path, self._draws) if seed is None else (*self._path, seed, self._draws)
            yield torch.Generator().manual_seed(_seed_of(path))

    def _shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """What one generator fills: the whole shape in training, one row in sampling."""
        if self.rows and shape[0] != self.rows:
            raise ValueError(f"The first axis of a draw is the batch of {self.rows} rows, not {shape[0]}.")
        return tuple(shape[1:]) if self.rows else tuple(shape)

    def _join(self, parts: list[Tensor]) -> Tensor:
        return torch.stack(parts) if self.rows else parts[0]

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers, float32."""
        own = self._shape(shape)
        return self._join([torch.randn(own, generator=g) for g in self._generators()])

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Uniform numbers in [0, 1), float32."""
        own = self._shape(shape)
        return self._join([torch.rand(own, generator=g) for g in self._generators()])

    def integers(self, low: int, high: int, shape: Sequence[int]) -> Tensor:
        """Integers in [low, high), int64."""
        own = self._shape(shape)
        return self._join([torch.randint(low, high, own, generator=g) for g in self._generators()])

    def permutation(self, n: int) -> Tensor:
        """A random order of 0 … n−1. [n]"""
        return torch.randperm(n, generator=next(self._generators()))

    def mask(self, shape: Sequence[int], p: float) -> Tensor:
        """True with probability ``p``. Bool tensor of ``shape``."""
        return self.uniform(shape) < p

    def choose(self, logits: Tensor) -> Tensor:
        """One id a row, drawn in proportion to exp(logits). [B, V] → [B]"""
        total = logits.double().softmax(-1).cumsum(-1)
        point = self.uniform((logits.shape[0], 1)).double() * total[:, -1:]
        ids: Tensor = torch.searchsorted(total, point, right=True).clamp_(max=logits.shape[-1] - 1).squeeze(-1)
        return ids

    def toward(self, other: Noise, t: float) -> Noise:
        """Noise on the great circle between this one (t = 0) and another (t = 1): interpolation and the pad."""
        return _Between(self, other, t)

    @contextmanager
    def seeded(self) -> Iterator[None]:
        """Torch's default initialisers draw from this noise inside the block, and the global state is restored."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_seed_of((*self._path, "init")))
            yield


class _Between(Noise):
    """Normal draws are interpolated on the sphere; uniform draws are mapped through the normal so that they too move."""

    def __init__(self, first: Noise, second: Noise, t: float) -> None:
        super().__init__(*first._path, rows=first._seeds)
        self._first, self._second, self._t = first, second, t

    def row(self, b: int) -> Noise:
        return _Between(self._first.row(b), self._second.row(b), self._t)

    def fork(self, *key: object) -> Noise:
        return _Between(self._first.fork(*key), self._second.fork(*key), self._t)

    def normal(self, shape: Sequence[int]) -> Tensor:
        angle = self._t * math.pi / 2
        return math.cos(angle) * self._first.normal(shape) + math.sin(angle) * self._second.normal(shape)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        drawn: Tensor = torch.special.ndtr(self.normal(shape))
        return drawn.clamp_(max=1 - 1e-7)

    def integers(self, low: int, high: int, shape: Sequence[int]) -> Tensor:
        return (low + self.uniform(shape) * (high - low)).long()


class Chooser:
    """Draws the ids of one row: the id at a place depends on its logits and the row's seed alone, however often it is asked.

    A token watermark would enter here.
    """

    def __init__(self, noise: Noise) -> None:
        """``noise`` has one row."""
        self._noise = noise.fork("points")
        self._points: list[float] = []

    def __call__(self, logits: NDArray[np.float32], at: int) -> int:
        """An id for place ``at``, drawn in proportion to exp(logits). [V]"""
        while at >= len(self._points):
            self._points += self._noise.uniform((1, BLOCK))[0].tolist()
        total = np.exp(logits - np.maximum.reduce(logits)).cumsum(dtype=np.float64)
        return int(total.searchsorted(self._points[at] * total[-1], side="right"))
