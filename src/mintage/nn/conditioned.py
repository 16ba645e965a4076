"""A model of token streams under a condition: class and caption as one vector, and masks that silence channels in training.

Both are added to or multiplied into every position of a text alike. It does not know what the network does with them.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from mintage.core.spec import PAD, Cond, Specs
from mintage.nn.condition import thinned
from mintage.nn.noise import Noise
from mintage.nn.optim import mark

NULLED = 0.1  # of the training examples lose their condition, so that its absence is known too


class Network(Protocol):
    """A network for token streams, a torch Module beside this protocol."""

    width: int
    masks: int  # how many masks of whole channels it takes

    def __call__(self, ids: Tensor, given: Tensor | None = None, *, drops: Tensor | None = None) -> Tensor:
        """Logits [B, T, V]; `given` [B, 1, W] joins every embedding, `drops` [masks, B, 1, W] scale channels."""


class Told(nn.Module):
    """What a condition says as one vector: a row of the class, and the sum of a row for each piece of the caption."""

    def __init__(self, cond: Specs, width: int, spread: float) -> None:
        """Rows of `width` numbers that begin with the deviation `spread`."""
        super().__init__()
        self.class_embed = nn.Embedding(cond["class"].vocab + 1, width) if "class" in cond else None  # the last stands for none
        self.caption_embed = nn.Embedding(cond["caption"].vocab, width) if "caption" in cond else None
        for table in (self.class_embed, self.caption_embed):
            if table is not None:
                nn.init.normal_(table.weight, std=spread) if spread else nn.init.zeros_(table.weight)
                mark(table, lr=5.0)

    def forward(self, cond: Cond, rows: int, noise: Noise | None = None) -> Tensor | None:
        """[B, 1, W]; with `noise` a tenth of the rows are told nothing."""
        found = []
        if self.class_embed is not None:
            null = self.class_embed.num_embeddings - 1
            ids = cond["class"] if "class" in cond else torch.full((rows,), null)
            if noise is not None:
                ids = ids.masked_fill(noise.fork("class").mask((rows,), NULLED), null)
            found.append(self.class_embed(ids))
        if self.caption_embed is not None and "caption" in cond:
            heard = cond if noise is None else thinned(cond, noise.fork("thin"))
            ids = heard["caption"]  # [B, L]; a bag of pieces
            real = (ids != PAD).float()
            if noise is not None:
                real = real * (~noise.fork("caption").mask((rows, 1), NULLED)).float()
            found.append((self.caption_embed(ids) * real[..., None]).sum(1) / real.sum(1, keepdim=True).clamp(min=1).sqrt())
        return sum(found[1:], found[0])[:, None] if found else None


class Conditioned(nn.Module):
    """A network that is told class and caption."""

    def __init__(self, cond: Specs, net: Network, dropout: float) -> None:
        """`dropout` silences that share of channels in training."""
        super().__init__()
        self.net, self.dropout = net, dropout
        self.given = Told(cond, net.width, 0.5)  # from zero it took hundreds of steps until anything was read in it

    def drops(self, rows: int, noise: Noise) -> Tensor | None:
        """One mask a text and place in the network, the same for all its tokens (Gal & Ghahramani, 1512.05287)."""
        if not self.dropout:
            return None
        kept = ~noise.fork("dropout").mask((self.net.masks, rows, 1, self.net.width), self.dropout)
        return kept.float() / (1 - self.dropout)
