"""The shape of a gate: hooks that do nothing until a gate fills them in. All take many items at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from mintage.core.spec import Item, Media, Ruling, Sample

ADMITTED = Ruling(True)


class Some(Sequence[Any]):
    """Some of the contents, still read only when looked at."""

    def __init__(self, contents: Sequence[Any], positions: Sequence[int] | np.ndarray) -> None:
        """``positions`` in ``contents``, in the order wanted."""
        self._contents, self._positions = contents, positions

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, key: int) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> Some: ...
    def __getitem__(self, key: int | slice) -> Any:
        if isinstance(key, slice):
            return Some(self._contents, self._positions[key])
        return self._contents[int(self._positions[key])]


class Gate:
    """A rule at the border; see ``trust/__init__.py`` for the order."""

    def admit(self, items: Sequence[Item], contents: Sequence[Any], fingerprints: np.ndarray) -> Mapping[int, Ruling]:
        """Data in: position → ruling, for those that are refused."""
        return {}

    def screen(self, given: Mapping[str, str]) -> Ruling:
        """A request in."""
        return ADMITTED

    def guard(self, samples: Sequence[Sample], index: Path | None) -> Mapping[int, Ruling]:
        """Made things before anyone sees them: position → ruling, for those that are refused.

        ``index`` is the run's folder of that name, which knows the training items.
        """
        return {}

    def mark(self, media: Media) -> Media:
        """The visible sign, on what becomes a file."""
        return media

    def file(self, path: Path, sample: Sample | None, run: Mapping[str, Any]) -> None:
        """The finished file: metadata in it or beside it. ``sample`` None: a sheet of several."""
