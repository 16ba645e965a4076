"""Finding copies of training items: a local distance ratio for grids, the longest verbatim passage for texts.

Grids: an item is a copy when its nearest training item is less than a third as far as the second (Yoon et al. 2023; Gu
et al., TMLR 2025), searched on coarse pixels, mirrored too where asked; a second neighbour that is itself a
near-duplicate of the first is passed over, or doubled training data would hide the copy. Texts: rolling hashes of all
passages of one length at a time (Karp & Rabin 1987). Neither sees a copy that was recoloured, cropped or paraphrased.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mintage.nn.features import outline
from mintage.nn.neighbours import Neighbours

CLOSE = 1 / 3  # d1 / d2 below which an item counts as a copy
LOOK = 6  # neighbours among which the first distinct one is found
LENGTHS = (*range(4, 32), *range(32, 64, 2), *range(64, 128, 4), *range(128, 512, 16))  # passages looked for
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that powers never vanish modulo 2⁶⁴
BITS = 22


class CopySearch:
    """The training items as an index of coarse content, with what counts as distinct."""

    def __init__(self, outlines: Tensor, mirrored: bool = True) -> None:
        """``outlines`` [M, K] are ``features.outline`` of the training items."""
        self.index = Neighbours(outlines)
        self.mirrored = mirrored
        probe = self.index.points[:: max(1, len(self.index) // 500)]
        typical = self.index.search(probe, min(LOOK, len(self.index)))[0][:, -1].median()
        self.distinct = float(typical) * CLOSE

    def ratio(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """d1 / d2 of each item [N, ...] and the position of its nearest training item: [N], [N]."""
        ratio, nearest = self._ratio(outline(x))
        if self.mirrored:
            other, place = self._ratio(outline(x.flip(-1)))
            nearest, ratio = torch.where(other < ratio, place, nearest), torch.minimum(ratio, other)
        return ratio, nearest

    def _ratio(self, points: Tensor) -> tuple[Tensor, Tensor]:
        if len(self.index) < 2:
            return torch.ones(len(points)), torch.zeros(len(points), dtype=torch.int64)
        distances, places = self.index.search(points, min(LOOK, len(self.index)))
        first = self.index.points[places[:, :1]]  # [N, 1, D]
        apart = (self.index.points[places] - first).norm(dim=2) > self.distinct  # [N, k]
        apart[:, -1] = True
        second = distances.gather(1, apart[:, 1:].float().argmax(1, keepdim=True) + 1)[:, 0]
        return distances[:, 0] / second.clamp(min=1e-9), places[:, 0]


class Passages:
    """All passages of a text as hashes: any length is hashed in one vector operation."""

    def __init__(self, text: str) -> None:
        """Polynomial prefix sums Σ code[i]·M^i modulo 2⁶⁴, and M^−i to compare passages at different places."""
        codes = np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32).astype(np.uint64)
        inverse = np.uint64(pow(int(MULTIPLIER), -1, 1 << 64))
        powers = np.cumprod(np.full(len(codes), MULTIPLIER), dtype=np.uint64)
        self._back = np.cumprod(np.full(len(codes), inverse), dtype=np.uint64)
        mixed = (codes + np.uint64(1)) * np.uint64(0xD6E8FEB86659FD93)
        self._prefix = np.concatenate([np.zeros(1, np.uint64), np.cumsum((mixed ^ (mixed >> np.uint64(32))) * powers)])

    def __len__(self) -> int:
        """Number of characters."""
        return len(self._back)

    def hashes(self, length: int, starts: NDArray[np.int64] | None = None) -> NDArray[np.uint64]:
        """Hash of the passage of ``length`` at each of ``starts``, or at every place it fits."""
        if starts is None:
            starts = np.arange(max(0, len(self) - length + 1))
        found: NDArray[np.uint64] = (self._prefix[starts + length] - self._prefix[starts]) * self._back[starts]
        return found


class Verbatim:
    """The training text, to find what stands in it word for word."""

    def __init__(self, texts: Sequence[str]) -> None:
        """A passage never crosses from one text into the next."""
        self._train = Passages("\0".join(texts))

    def longest(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        """For each text, where its longest verbatim passage begins and how many characters it has.

        Lengths under 4 count as 0, and above 32 they are found to within a fifteenth.
        """
        best = [(0, 0)] * len(texts)
        joined = Passages("\1".join(texts))
        sizes = np.array([len(text) for text in texts], np.int64)
        begins = np.concatenate([[0], np.cumsum(sizes + 1)])[:-1].astype(np.int64)
        owner = np.repeat(np.arange(len(texts)), sizes)
        start = np.arange(len(owner)) + owner  # each text before took one separator
        for length in LENGTHS:
            fits = start + length <= begins[owner] + sizes[owner]
            owner, start = owner[fits], start[fits]
            if not len(owner) or length > len(self._train):
                break
            found = _member(joined.hashes(length, start), self._train.hashes(length))
            owner, start = owner[found], start[found]  # a longer passage begins where a shorter one does
            for text, first in zip(*np.unique(owner, return_index=True), strict=True):
                best[text] = (int(start[first] - begins[text]), length)
        return best

    def novel(self, texts: Sequence[str], length: int = 12) -> list[float]:
        """For each text, the share of its passages of ``length`` that never stand in the training text."""
        train, own = self._train.hashes(length), [Passages(text).hashes(length) for text in texts]
        known = np.split(_member(np.concatenate(own), train), np.cumsum([len(o) for o in own])[:-1])
        return [1.0 - float(part.mean()) if len(part) else 1.0 for part in known]


def _member(wanted: NDArray[np.uint64], among: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which wanted hashes occur among the others; a table of their top bits spares most of a long text the search."""
    table = np.zeros(1 << BITS, bool)
    table[wanted >> np.uint64(64 - BITS)] = True
    found: NDArray[np.bool_] = np.isin(wanted, among[table[among >> np.uint64(64 - BITS)]])
    return found
