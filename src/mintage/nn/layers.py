"""What the networks for token streams share: how ids enter them, their activation, their dtype.

Ids enter as embeddings of themselves, hashed embeddings of the last two tokens, and, in windows that begin a document,
embeddings of the place in it. It does not know what is done with them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintage.core.spec import BOS, PAD
from mintage.nn.optim import mark


def working_dtype(x: Tensor) -> torch.dtype:
    """The dtype that the caller's autocast asks for, else float32."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32


def uniform(rows: int, columns: int, scale: float) -> nn.Parameter:
    """A matrix whose output has the standard deviation `scale` for inputs of unit variance."""
    reach = scale * (3 / columns) ** 0.5
    return nn.Parameter(nn.init.uniform_(torch.empty(rows, columns), -reach, reach))


class _SquaredRelu(torch.autograd.Function):
    """One saved tensor and a two-pass backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.relu()
        ctx.save_for_backward(positive)
        return positive * positive  # ten times as fast as square() in bfloat16, and the same

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return torch.mul(ctx.saved_tensors[0], grad).mul_(2)


def squared_relu(x: Tensor) -> Tensor:
    """relu(x)^2"""
    found: Tensor = _SquaredRelu.apply(x)  # type: ignore[no-untyped-call]
    return found


def feed_forward(x: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """What each position [..., W] thinks by itself: normalised, widened by `up` [E, W], rectified, narrowed by `down` [W, E]."""
    return F.linear(squared_relu(F.linear(F.layer_norm(x, x.shape[-1:]), up.to(x.dtype))), down.to(x.dtype))


class Entry(nn.Module):
    """Ids -> what the first block of a network sees."""

    def __init__(self, vocab: int, width: int, context: int, pairs: int) -> None:
        """`pairs` is the number of rows that embeddings of two neighbouring tokens are hashed into; 0 for none."""
        super().__init__()
        self.vocab, self.width, self.context = vocab, width, context
        self.spelling = range(0)  # ids that go on spelling a character, and stand at its place
        self.embed = nn.Embedding(vocab, width)
        self.pair_embed = nn.Embedding(max(1, pairs), width)
        self.place_embed = nn.Embedding(context + 1, width)  # the last row: somewhere inside a document
        mark(self.embed, lr=5.0)
        for table, rate in ((self.pair_embed, 3.0), (self.place_embed, 5.0)):
            mark(table, lr=rate)
            nn.init.zeros_(table.weight)

    def enter(self, ids: Tensor, given: Tensor | None) -> Tensor:
        """Tokens [B, T], and a condition `given` [B, G, W]: a row a place, the last for all later ones. [B, T, W]"""
        place = ((ids < self.spelling.start) | (ids >= self.spelling.stop)).cumsum(1) - 1
        place = torch.where((ids[:, :1] == BOS) & (place < self.context), place, self.context)
        x = self.embed(ids) + self.beside(ids)
        x = x + self.place_embed(place)
        if given is not None and given.shape[1] > 1:
            given = given[:, torch.arange(ids.shape[1], device=ids.device).clamp(max=given.shape[1] - 1)]
        return F.layer_norm(x if given is None else x + given, (self.width,))

    def beside(self, ids: Tensor) -> Tensor:
        """What a place is told of the tokens beside it: here the pair with the one before. [B, T, W]"""
        before = F.pad(ids[:, :-1], (1, 0), value=PAD)
        found: Tensor = self.pair_embed((before * 1_000_003 + ids) % self.pair_embed.num_embeddings)
        return found
