"""Stops a made thing that is a copy of a training item, by the run's own ``index/`` (``nn/copies.py``).

Pictures: nearer to one training item than a third of the way to the next distinct one, or than the ``limit`` that the
index holds where held-out items were asked. Texts: a passage of 60 characters, or four fifths of a shorter text (at
least 20 characters), that stands in the training text. Among fewer than 50 training items a ratio means nothing and no
picture is stopped. Paraphrase and recolouring pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from mintage.core.spec import Ruling, Sample
from mintage.core.store import load_tensors
from mintage.core.words import say
from mintage.nn.copies import CLOSE, CopySearch, Passages
from mintage.trust.gate import Gate as Base

FEWEST = 50  # training pictures
PASSAGE, SHARE, SHORTEST = 60, 0.8, 20  # characters
TABLES = 8  # passage lengths kept at a time


@lru_cache(maxsize=2)
def _pictures(path: Path, stamp: int) -> tuple[CopySearch, float]:
    """The index, and the ratio below which an item is a copy: a third, or what was calibrated on held-out items."""
    tensors = load_tensors(path)
    return CopySearch(tensors["outlines"].float()), float(tensors["limit"]) if "limit" in tensors else CLOSE


class Known:
    """The training text, ready to be asked whether it holds a passage."""

    def __init__(self, text: str) -> None:
        self.passages = Passages(text)
        self._tables: dict[int, np.ndarray] = {}

    def holds(self, text: str) -> bool:
        """Whether a passage long enough to be a copy stands in the training text."""
        length = max(SHORTEST, min(PASSAGE, int(SHARE * len(text))))
        if len(text) < length or len(self.passages) < length:
            return False
        if length not in self._tables:
            if len(self._tables) == TABLES:
                self._tables.clear()
            self._tables[length] = np.sort(self.passages.hashes(length))
        table, own = self._tables[length], Passages(text).hashes(length)
        return bool((table[np.searchsorted(table, own).clip(max=len(table) - 1)] == own).any())


@lru_cache(maxsize=2)
def _texts(path: Path, stamp: int) -> Known:
    return Known(path.read_text(encoding="utf-8"))


class Gate(Base):
    """Without an index nothing is stopped: a model folder that left its run has none."""

    def guard(self, samples: Sequence[Sample], index: Path | None) -> Mapping[int, Ruling]:
        """Refuse the copies."""
        if index is None or not samples:
            return {}
        pictures, texts = index / "outlines.safetensors", index / "train.txt"
        copied: list[int] = []
        if texts.exists():
            known = _texts(texts, texts.stat().st_mtime_ns)
            copied = [i for i, sample in enumerate(samples) if known.holds(sample.passage)]
        elif pictures.exists():
            search, limit = _pictures(pictures, pictures.stat().st_mtime_ns)
            grids = [sample.grid for sample in samples if sample.grid is not None]
            if len(search.index) >= FEWEST and len(grids) == len(samples):
                copied = torch.nonzero(search.ratio(torch.stack(grids))[0] < limit).ravel().tolist()
        why = say("it is nearly a copy of a training item")
        return {i: Ruling(False, "copy", why) for i in copied}
