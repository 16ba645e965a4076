"""Refuses what could not be decoded, with the decoder's reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mintage.core.errors import BadItem
from mintage.core.spec import Item, Ruling
from mintage.trust.gate import Gate as Base


class Gate(Base):
    """An item whose content is a BadItem stays outside."""

    def admit(self, items: Sequence[Item], contents: Sequence[Any], fingerprints: np.ndarray) -> Mapping[int, Ruling]:
        """Refuse the unreadable."""
        bad = {i: content for i, content in enumerate(contents) if isinstance(content, BadItem)}
        return {i: Ruling(False, "broken", str(content)) for i, content in bad.items()}
