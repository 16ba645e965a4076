"""Refuses a second copy of an item, and a near-copy of one: the same picture re-saved, the same text with a typo fixed.

The first in order stays. Rules and their limits are those of ``nn/twins.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mintage.core.spec import Item, Ruling
from mintage.core.words import say
from mintage.nn.twins import twins
from mintage.trust.gate import Gate as Base
from mintage.trust.gate import Some


class Gate(Base):
    """Exact copies by content hash, near-copies by fingerprint."""

    def admit(self, items: Sequence[Item], contents: Sequence[Any], fingerprints: np.ndarray) -> Mapping[int, Ruling]:
        """Refuse all but the first of each cluster."""
        first: dict[str, int] = {}
        for i, item in enumerate(items):
            first.setdefault(item.id, i)
        same = {i: first[item.id] for i, item in enumerate(items) if first[item.id] != i}
        rulings = {i: Ruling(False, "duplicate", say("the same as {other}", other=_name(items[k]))) for i, k in same.items()}
        alone = np.array(list(first.values()), np.int64)
        heads = alone[twins(fingerprints[alone], Some(contents, alone))]
        for i, k in zip(alone.tolist(), heads.tolist(), strict=True):
            if i != k:
                rulings[i] = Ruling(False, "near", say("nearly the same as {other}", other=_name(items[k])))
        return rulings


def _name(item: Item) -> str:
    return f"{item.path.name}:{item.at}" if item.at else item.path.name
