"""What was asked for as one vector: an embedded class, a bag of embedded caption pieces, or their sum.

A missing class has a row of its own; a missing caption adds nothing. It does not know order of words, objectives or
guidance; known parts of a grid are not its business.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mintage.core.spec import PAD, Cond, Specs
from mintage.nn.noise import Noise

LONG, THIN = 16, 1 / 3  # pieces that make a caption long, and the share of them that is left out in training
APART = 0.1  # share of captions left out where there is a class as well


def without(cond: Cond, null: int, drop: Tensor | None = None) -> dict[str, Tensor]:
    """The condition with class and caption set to none (``null`` is the class's), in all rows or where ``drop`` [B] is true."""
    found = dict(cond)
    for name, nothing in (("class", null), ("caption", PAD)):
        if name in found:
            rows = found[name]
            gone = torch.ones(len(rows), dtype=torch.bool) if drop is None else drop
            found[name] = torch.where(gone.to(rows.device).view(-1, *[1] * (rows.ndim - 1)), nothing, rows)
    return found


def thinned(cond: Cond, noise: Noise) -> dict[str, Tensor]:
    """The condition with a third of the pieces of long captions left out: a person asks in fewer words than a file has.

    Not of short ones: of "theo says seven" each word counts, and pairs of words that were never together came out worse.
    """
    if "caption" not in cond:
        return dict(cond)
    ids = cond["caption"]
    long = (ids != PAD).sum(1, keepdim=True) > LONG
    gone = noise.mask(tuple(ids.shape), THIN).to(ids.device) & long
    return {**cond, "caption": torch.where(gone, PAD, ids)}


def apart(cond: Cond, noise: Noise) -> dict[str, Tensor]:
    """Where there are both, a tenth of the rows keep their class alone, for a person may ask by class alone."""
    if not {"class", "caption"} <= set(cond):
        return dict(cond)
    ids = cond["caption"]
    return {**cond, "caption": torch.where(noise.mask((len(ids), 1), APART).to(ids.device), PAD, ids)}


class Condition(nn.Module):
    """Class and caption as a vector of ``width`` numbers, zeros where the data has neither."""

    def __init__(self, cond: Specs, width: int) -> None:
        """Tables for the conditions there are."""
        super().__init__()
        self.width, self.null = width, cond["class"].vocab if "class" in cond else 0
        self.class_embedding = nn.Embedding(self.null + 1, width) if "class" in cond else None
        self.words_embedding = nn.Embedding(cond["caption"].vocab, width) if "caption" in cond else None

    @property
    def given(self) -> bool:
        """Is there anything that could be asked for?"""
        return self.class_embedding is not None or self.words_embedding is not None

    def forward(self, cond: Cond, rows: int) -> Tensor:
        """→ [rows, width]"""
        parts: list[Tensor] = []
        if self.class_embedding is not None:
            table = self.class_embedding
            ids = cond.get("class", torch.full((rows,), self.null, device=table.weight.device))
            parts.append(table(ids))
        if self.words_embedding is not None and "caption" in cond:
            there = (cond["caption"] != PAD).float()[..., None]  # [B, L, 1]
            words = (self.words_embedding(cond["caption"]) * there).sum(1)
            parts.append(words / there.sum(1).clamp(min=1).sqrt())
        return sum(parts[1:], parts[0]) if parts else torch.zeros(rows, self.width)
