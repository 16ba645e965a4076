"""Rows of a table as a judge wants them: ids of columns, coarse groups of them, and a tree that learns from them.

Content of either view of a table becomes ids by its codec. The learner is scikit-learn's histogram gradient boosting (Ke et
al. 2017) with its own settings, which sees ordered columns as numbers and the others as categories. It does not tune
anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintage.core.spec import Evidence, Spec

AXES = (("column",), ("feature",))
CATEGORIES = 250  # most that the trees take as such


def is_table(target: Spec) -> bool:
    """Whether this content is rows of a table, in either view."""
    return target.axes in AXES


@dataclass(frozen=True)
class Columns:
    """What is known of the columns: the range of ids of each, its name, and whether ids are in the order of values."""

    slots: tuple[tuple[int, int], ...]
    names: tuple[str, ...]
    ordered: tuple[bool, ...]

    @classmethod
    def of(cls, evidence: Evidence) -> Columns:
        """From the codec of the evidence."""
        codec = evidence.extra["codec"]
        view = codec.views()["tokens"]
        return cls(view.slots, view.channels, tuple(column.ordered for column in codec.learned))

    @property
    def lows(self) -> Tensor:
        """First id of each column. [C]"""
        return torch.tensor([low for low, _ in self.slots])

    @property
    def vocab(self) -> int:
        """Ids in all."""
        return self.slots[-1][1]

    def groups(self, like: Tensor, count: int) -> Tensor:
        """Group 0 … count − 1 of each id: neighbours share one, so that all are about equally frequent in ``like`` [N, C]. [V]"""
        found = torch.zeros(self.vocab, dtype=torch.int64)
        for k, (low, high) in enumerate(self.slots):
            counts = torch.bincount(like[:, k] - low, minlength=high - low).double() + 1e-6
            middle = (counts.cumsum(0) - counts / 2) / counts.sum()
            found[low:high] = torch.arange(high - low) if high - low <= count else (middle * count).long()
        return found


def rows(evidence: Evidence, x: Tensor) -> Tensor:
    """Content of the evidence as ids. [N, C]"""
    found: Tensor = evidence.extra["codec"].ids(x, evidence.target)
    return found


def trees(columns: Columns, keep: Sequence[int], classes: bool) -> Any:
    """The learner for the columns ``keep``, of classes or of numbers."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    named = [not columns.ordered[k] and columns.slots[k][1] - columns.slots[k][0] <= CATEGORIES for k in keep]
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    return kind(categorical_features=np.array(named, bool), early_stopping=False, random_state=0)


def plain(columns: Columns, ids: Tensor, keep: Sequence[int]) -> np.ndarray:
    """Ids of the columns ``keep``, from 0, as the learner takes them. [N, K]"""
    return (ids - columns.lows).numpy()[:, list(keep)].astype(np.float64)
