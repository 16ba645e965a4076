"""A recurrent network that writes token by token in constant time and memory: LSTM, GRU or minGRU; streaming, from a prompt.

The network is `nn.recurrent`, trained on the next token through time (Werbos 1990) by Muon and AdamW. Where nothing conditions the
text, counts are mixed in as in gpt. All it knows of the past is a state of fixed size, so a character late in a long text
costs what the first one cost, and what was said long ago fades.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from torch import Tensor

from mintage.core.config import Within
from mintage.core.spec import Spec, Specs
from mintage.core.words import say
from mintage.nn.decode import Reader
from mintage.nn.recall import Recall, Reread
from mintage.nn.recurrent import Recurrent
from mintage.nn.writer import Knobs, Writer

__all__ = ["Config", "Knobs", "Model"]


@dataclass(frozen=True)
class Config:
    """What a person may set.

    Attributes:
        cell: Kind of recurrence: mingru, gru or lstm.
        width: Numbers a token is carried by, and of each state.
        layers: Blocks.
        pairs: Rows that pairs of neighbouring tokens are hashed into.
        dropout: Share of channels silenced in training, one mask a text; for long runs on little data.
        counts: Mix in an n-gram model where nothing conditions the text.
    """

    cell: Literal["mingru", "gru", "lstm"] = "mingru"
    width: Annotated[int, Within(8, 8192)] = 160
    layers: Annotated[int, Within(1, 128)] = 2
    pairs: Annotated[int, Within(1, 1 << 24)] = 8192
    dropout: Annotated[float, Within(0, 0.95)] = 0.0
    counts: bool = True


def sizes(n: int, minutes: float, speed: float) -> tuple[Config, dict[str, Any]]:
    """Sizes for `n` training tokens, `minutes` and a matrix roof of `speed` GFLOP/s.

    At equal time on one core (90 s, tinyshakespeare, 2 layers of 160) minGRU read test text at 1.487 nats a character, GRU at
    1.554, LSTM at 1.676: its steps are half as long as GRU's. Weights of two layers of 160 fit a second-level cache, which makes
    writing twice as fast as with twice the weights, so a net grows only where the minutes are many; sizes of long runs, and
    dropout, which is for many passes over little text, were not raced.
    """
    width, layers = (128, 2) if minutes * speed < 100 else (160, 2) if minutes * speed < 16_000 else (256, 3)
    seen = 150e9 * minutes * 60 / (48 * width**2 * layers)  # tokens at a rate of arithmetic that was measured
    length = 128 if minutes < 3 else 256
    tokens = 8192 if n > 600_000 else 4096  # little text wants more steps, not larger ones
    training = {"batch": tokens // length, "length": length + 1, "lr": 0.02, "weight_decay": 0.1}
    config = Config("mingru", width, layers, dropout=0.0 if seen < 60 * n else 0.1)
    return config, training | {"ema": 0.02, "warmup": 0.02, "decay": 0.6, "clip": 1.0}


class Model(Writer):
    """p(next id | ids so far, class, caption)."""

    net: Recurrent

    def __init__(self, target: Spec, cond: Specs, config: Config) -> None:
        """The window that it is trained on is the target's length."""
        target = target if target.shape[0] else target.at(token=128)
        net = Recurrent(target.vocab, config.width, config.layers, config.cell, target.shape[0], config.pairs)
        super().__init__(target, cond, net, config.dropout, config.counts)
        self.config = config

    @staticmethod
    def refuse(target: Spec, cond: Specs) -> str | None:
        """Only token streams can be written token by token."""
        if target.kind != "tokens":
            return say("rnn writes tokens, and this data is a grid of {axes}.", axes=" × ".join(target.axes) or "grids")
        if target.slots:
            return say("{family} writes from left to right, and the columns of a table have no order.", family="rnn")
        return None

    @staticmethod
    def fit(target: Spec, cond: Specs, n: int, minutes: float, speed: float) -> tuple[Config, dict[str, Any]]:
        """See `sizes`."""
        return sizes(n, minutes, speed)

    def reader(self, given: Tensor | None, cached: bool) -> Reader:
        """See `Recall`."""
        return Recall(self.net, given) if cached else Reread(self.net, given)
