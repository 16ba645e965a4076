"""A small causal Transformer for token streams, shaped to train fast on a CPU.

Pre-norm blocks (Vaswani et al. 1706.03762) with normalised queries and keys (Henry et al. 2010.04245), squared ReLU (So et al.
2109.08668), zero-initialised output projections, mixing of the first layer's input into every layer and value embeddings (Jordan et
al., modded-nanogpt 2024), learned biases by distance (Raffel et al. 1910.10683), hashed embeddings of the last two tokens, and, in
windows that begin a document, embeddings of the place in it. Attention is written out: at these sizes two batched products and a
softmax beat the fused kernel's backward on CPUs. It does not know losses, sampling or what the tokens mean; its reach is `context`
tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintage.core.config import Within
from mintage.core.errors import UsageError
from mintage.core.spec import PAD
from mintage.core.words import say
from mintage.nn.layers import Entry, feed_forward, uniform, working_dtype
from mintage.nn.optim import mark

GAIN = 1.5  # sharpness of attention over normalised queries and keys


def sizes(n: int, minutes: float, speed: float) -> tuple[int, int, float, dict[str, Any]]:
    """Width, layers, dropout and training for `n` training tokens, `minutes` and a matrix roof of `speed` GFLOP/s.

    What is not matrix products bounds a step, so the rate that arrives is taken as 1 / (1 / .75 speed + 1 / 350). Of that compute C
    a network of N = sqrt(C / 8) parameters is trained, 1.3 tokens a parameter. Both are extrapolated from one measured point (width
    192, 4 layers, 90 s on tinyshakespeare); sizes were not raced against each other.
    More passes over the same text get dropout, longer runs a longer reach and larger steps; this too is untested.
    """
    rate = 1 / (1 / (0.75 * max(speed, 1.0)) + 1 / 350)
    compute = rate * 1e9 * minutes * 60
    aim = min(math.sqrt(compute / 8), 12e6, max(3e5, 8.0 * n))
    shapes = [(64, 3), (128, 3), (128, 4), (192, 4), (256, 4), (256, 6), (320, 6), (384, 6)]
    width, layers = min(shapes, key=lambda shape: abs(math.log(12 * shape[0] ** 2 * shape[1] / aim)))
    epochs = compute / (6 * 12 * width**2 * layers) / max(1, n)
    length = 128 if minutes < 3 else 192 if minutes < 10 else 256
    tokens = 4096 if minutes < 3 or n < 600_000 else 8192  # little text wants more steps, not larger ones
    training = {"batch": tokens // length, "length": length + 1, "lr": 0.02, "weight_decay": 0.1}
    dropout = 0.0 if epochs < 5 else 0.1 if epochs < 15 else 0.2
    return width, layers, dropout, training | {"ema": 0.02, "warmup": 0.02, "decay": 0.6, "clip": 1.0}


class Block(nn.Module):
    """Attention and a feed-forward part, each added to the stream."""

    def __init__(self, width: int, heads: int) -> None:
        """Both output projections start at zero, so that the block starts as the identity."""
        super().__init__()
        self.heads, self.depth = heads, width // heads
        self.qkv = uniform(3 * width, width, 0.6)
        self.out = nn.Parameter(torch.zeros(width, width))
        self.up = uniform(4 * width, width, 0.5)
        self.down = nn.Parameter(torch.zeros(width, 4 * width))
        self.mix = nn.Parameter(torch.tensor([1.0, 0.1]))  # shares of the stream and of the network's input

    def forward(self, x: Tensor, first: Tensor, extra: Tensor, bias: Tensor, drop: Sequence[Tensor]) -> Tensor:
        """`x`, `first` [B, T, W]; `extra` [B, T, H, D] joins the values; `bias` [H, T, S]; `drop` two masks [B, 1, W] or ()."""
        b, t, width = x.shape
        kind, heads, depth = x.dtype, self.heads, self.depth
        own, start = self.mix.to(kind).unbind()
        x = x * own + first * start
        qkv = F.linear(F.layer_norm(x, (width,)), self.qkv.to(kind)).view(b, t, 3, heads, depth)
        qk, v = torch.split(qkv, [2, 1], 2)  # one copy backward, where indexing would fill and add
        q, k = F.layer_norm(qk, (depth,)).permute(2, 0, 3, 1, 4).reshape(2, b * heads, t, depth).unbind()
        v = (v.squeeze(2) + extra).transpose(1, 2).reshape(b * heads, t, depth)
        score = torch.baddbmm(q.new_zeros(()), q, k.mT, beta=0, alpha=GAIN / depth**0.5).view(b, heads, t, -1).add_(bias)
        seen = torch.bmm(score.softmax(-1).view(b * heads, t, -1), v).view(b, heads, t, depth).transpose(1, 2).reshape(b, t, width)
        y = F.linear(seen, self.out.to(kind))
        x = x + (y * drop[0] if drop else y)
        y = feed_forward(x, self.up, self.down)
        return x + (y * drop[1] if drop else y)


@dataclass(frozen=True)
class Shape:
    """Sizes of a Transformer.

    Attributes:
        width: Numbers a token is carried by.
        layers: Blocks.
        heads: Attention heads; width / heads numbers each.
        pairs: Rows that pairs of neighbouring tokens are hashed into.
        dropout: Share of channels silenced in training; for long runs on little data.
    """

    width: Annotated[int, Within(8, 8192)] = 192
    layers: Annotated[int, Within(1, 128)] = 4
    heads: Annotated[int, Within(1, 128)] = 3
    pairs: Annotated[int, Within(1, 1 << 24)] = 8192
    dropout: Annotated[float, Within(0, 0.95)] = 0.0


class Decoder(Entry):
    """Ids -> logits of each next id."""

    def __init__(self, vocab: int, width: int, layers: int, heads: int, context: int, pairs: int) -> None:
        """See `Entry`; `width / heads` numbers a head."""
        if width % heads:
            raise UsageError(say("-o heads={heads}: choose a divisor of the width {width}.", heads=heads, width=width))
        super().__init__(vocab, width, context, pairs)
        self.layers, self.heads, self.masks = layers, heads, 2 * layers
        self.value_embed = nn.Embedding(vocab, width * layers)
        mark(self.value_embed, lr=5.0)
        nn.init.zeros_(self.value_embed.weight)
        slope = torch.logspace(0, -2.5, heads).repeat(layers) * 0.5  # each head starts with a reach of its own
        self.distance_embed = nn.Parameter(-slope * torch.arange(context)[:, None])  # [S, L * H]
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.head = nn.Parameter(nn.init.normal_(torch.empty(vocab, width), std=0.001))
        place = torch.arange(context)
        self.register_buffer("distance", (place[:, None] - place).clamp(min=0), persistent=False)
        self.register_buffer("future", torch.full((context, context), float("-inf")).triu(1), persistent=False)
        self.distance: Tensor
        self.future: Tensor

    def bias(self, length: int, dtype: torch.dtype) -> Tensor:
        """What attention adds by distance; -inf for the future. [L, H, T, T]"""
        table = F.embedding(self.distance[:length, :length], self.distance_embed)  # [T, T, L * H]
        bias = table.permute(2, 0, 1).view(self.layers, self.heads, length, length) + self.future[:length, :length]
        return bias.to(dtype)

    def forward(self, ids: Tensor, given: Tensor | None = None, drops: Tensor | None = None) -> Tensor:
        """Logits [B, T, V] float32; see ``states``."""
        return self.logits(self.states(ids, given, drops))

    def logits(self, states: Tensor) -> Tensor:
        """Stream [..., W] → logits of the next id [..., V] float32."""
        with torch.autocast(states.device.type, enabled=False):
            return F.linear(states, self.head.to(states.dtype)).float()

    def states(self, ids: Tensor, given: Tensor | None = None, drops: Tensor | None = None) -> Tensor:
        """What the head reads [B, T, W].

        Args:
            ids: Tokens [B, T].
            given: Added to the positions' embeddings [B, G, W], a condition: a row a place, the last for all later ones.
            drops: Masks of whole channels, scaled to mean 1 [2 L, B, 1, W].
        """
        dtype = working_dtype(ids)
        with torch.autocast(ids.device.type, enabled=False):
            return self._states(ids, given, drops, dtype)

    def _states(self, ids: Tensor, given: Tensor | None, drops: Tensor | None, dtype: torch.dtype) -> Tensor:
        b, t = ids.shape
        x = self.enter(ids, given).to(dtype)
        extras = self.value_embed(ids).to(dtype).view(b, t, self.layers, self.heads, -1).unbind(2)
        biases = self.bias(t, dtype).unbind()
        masks = drops.to(dtype) if drops is not None else None
        first = x
        for i, block in enumerate(self.blocks):
            drop = (masks[2 * i], masks[2 * i + 1]) if masks is not None else ()
            x = block(x, first, extras[i], biases[i], drop)
        return F.layer_norm(x, (self.width,))


class Encoder(Decoder):
    """Ids, some of them hidden -> logits of each id itself: the same blocks with attention to both sides (Devlin et al. 2018).

    A place is told at once what stands beside it, as a causal network is by the last token's own embedding. These tables start
    random, not empty: features that can be read from the first step.
    """

    def __init__(self, vocab: int, width: int, layers: int, heads: int, context: int, pairs: int) -> None:
        """Heads start with reaches of their own to both sides alike."""
        super().__init__(vocab, width, layers, heads, context, pairs)
        self.left_embed, self.right_embed = nn.Embedding(vocab, width), nn.Embedding(vocab, width)
        for table in (self.left_embed, self.right_embed):
            mark(table, lr=5.0)
        place = torch.arange(context)
        slope = -self.distance_embed.detach()[1]  # [L * H]
        self.distance_embed = nn.Parameter(-slope * (torch.arange(2 * context - 1)[:, None] - context + 1).abs())
        self.distance.copy_(place[:, None] - place + context - 1)
        self.future.zero_()

    def beside(self, ids: Tensor) -> Tensor:
        """Embeddings of the tokens next to each place, and of the pairs of them on each side. [B, T, W]"""
        first, second, third, fourth = (F.pad(ids, (2, 2), value=PAD).unfold(1, ids.shape[1], 1)[:, k] for k in (0, 1, 3, 4))
        rows = self.pair_embed.num_embeddings
        pairs = self.pair_embed((first * 1_000_003 + second) % rows) + self.pair_embed((third * 700_001 + fourth + 1) % rows)
        found: Tensor = self.left_embed(second) + self.right_embed(third) + pairs
        return found
