"""A small Transformer that writes token by token: text, tunes, codes; by class or caption, from a prompt, streaming.

The network is `nn.transformer`, trained on the next token (Radford et al. 2018) by Muon and AdamW. Where nothing conditions the
text, the answer mixes in an n-gram model of the training part with one constant share, as Neubig & Dyer 2016 (1606.00499) do: the
counts know the rare strings from the first second, the network the rest. It does not know positions beyond its context and
makes no plan: what it wrote is all it remembers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mintage.core.spec import RESERVED, Spec, Specs
from mintage.core.words import say
from mintage.nn.decode import Reader
from mintage.nn.stream import Recomputed, Stream
from mintage.nn.transformer import Decoder, Shape, sizes
from mintage.nn.writer import Knobs, Writer

__all__ = ["Config", "Knobs", "Model"]


@dataclass(frozen=True)
class Config(Shape):
    """What a person may set.

    Attributes:
        counts: Mix in an n-gram model where nothing conditions the text.
    """

    counts: bool = True


class Model(Writer):
    """p(next id | ids so far, class, caption)."""

    net: Decoder

    def __init__(self, target: Spec, cond: Specs, config: Config) -> None:
        """The window that it is trained on is the target's length."""
        target = target if target.shape[0] else target.at(token=128)
        net = Decoder(target.vocab, config.width, config.layers, config.heads, target.shape[0], config.pairs)
        if target.channels == ("utf-8",):  # ids from RESERVED on are the bytes, 128 to 191 of them no character's first
            net.spelling = range(RESERVED + 128, RESERVED + 192)
        super().__init__(target, cond, net, config.dropout, config.counts)
        self.config = config

    @staticmethod
    def refuse(target: Spec, cond: Specs) -> str | None:
        """Only token streams can be written token by token."""
        if target.kind != "tokens":
            return say("gpt writes tokens, and this data is a grid of {axes}.", axes=" × ".join(target.axes) or "grids")
        if target.slots:
            return say("{family} writes from left to right, and the columns of a table have no order.", family="gpt")
        return None

    @staticmethod
    def fit(target: Spec, cond: Specs, n: int, minutes: float, speed: float) -> tuple[Config, dict[str, Any]]:
        """See `nn.transformer.sizes`."""
        width, layers, dropout, training = sizes(n, minutes, speed)
        return Config(width, layers, width // 64, dropout=dropout), training

    def reader(self, given: Tensor | None, cached: bool) -> Reader:
        """See `Stream`."""
        return Stream(self.net, given, several=self.counts is not None) if cached else Recomputed(self.net, given)
