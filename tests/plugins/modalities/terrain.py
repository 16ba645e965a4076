"""terrain: heights on a map in ESRI ASCII grids, in one small file, the proof that a modality is one file."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintage.core.errors import BadItem, UsageError
from mintage.core.spec import Item, Media, Spec, Specs
from mintage.nn.given import Given
from mintage.nn.noise import Noise
from mintage.nn.pictures import perceptual_hash

SIDE = 16


class Codec:
    suffixes, mime, family = (".asc",), "text/x-esri-grid", "flow"

    def __init__(self) -> None:
        self.low, self.high, self.given = 0.0, 1.0, Given()

    def items(self, path: Path) -> Iterable[Item]:
        return (Item("", path),)

    def read(self, item: Item) -> np.ndarray:
        try:
            rows = [line.split() for line in item.path.read_text("ascii").splitlines()[5:]]
            return np.array(rows, np.float32).reshape(SIDE, -1)  # [H, W] metres
        except ValueError as error:
            raise BadItem(f"it is no ESRI grid ({error})") from None

    def fit(self, contents: Sequence[np.ndarray], given: Sequence[Mapping[str, str]]) -> None:
        self.low, self.high = (float(edge([edge(heights) for heights in contents])) for edge in (np.min, np.max))
        self.given.fit(given)

    @property
    def state(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, **self.given.state}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.low, self.high = state["low"], state["high"]
        self.given.restore(state)

    def views(self) -> Specs:
        return {"grid": Spec("grid", (1, SIDE, SIDE), ("channel", "height", "width"), ("metres",))}

    def conditions(self) -> Specs:
        return self.given.specs()

    def encode(self, contents: Sequence[np.ndarray], spec: Spec) -> Tensor:
        grids = [torch.from_numpy(np.array(heights))[None, None] for heights in contents]
        x = torch.cat([torch.nn.functional.interpolate(grid, spec.shape[1:], mode="area") for grid in grids])
        return (x - self.low) * (2 / max(1e-9, self.high - self.low)) - 1  # [B, 1, H, W] float32, stored as it is

    def decode(self, x: Tensor, spec: Spec) -> list[Media]:
        heights = (x[:, 0].clamp(-1, 1) + 1) / 2 * (self.high - self.low) + self.low
        return [Media(row, self.mime, ".asc") for row in heights.numpy()]

    def write(self, media: Sequence[Media], out: Path, names: Sequence[str]) -> list[Path]:
        out.mkdir(parents=True, exist_ok=True)
        head = f"ncols {SIDE}\nnrows {SIDE}\nxllcorner 0\nyllcorner 0\ncellsize 1"
        for thing, name in zip(media, names, strict=True):
            np.savetxt(out / f"{name}.asc", thing.content, "%.2f", header=head, comments="")
        return [out / f"{name}.asc" for name in names]

    def look(self, media: Media) -> np.ndarray:
        return np.rint((media.content - self.low) * (255 / max(1e-9, self.high - self.low))).astype(np.uint8)

    def augment(self, x: Tensor, spec: Spec, noise: Noise) -> Tensor:
        return x

    def fingerprint(self, contents: Sequence[np.ndarray]) -> np.ndarray:
        return perceptual_hash([(255 * (c - c.min()) / max(1e-9, np.ptp(c))).astype(np.uint8) for c in contents])

    def select(self, what: str, spec: Spec) -> Tensor:
        raise UsageError(f"{what} is no part of a map; a map is made whole.")
