"""How well the model predicts what was held out: by character and byte of texts, by token of other ids, by number of grids.

Texts longer than the context are read in windows that overlap by half, so that every token but the first half-window
of a text is predicted from at least half a context. The gain over the sketch is taken text by text, which is far
sharper than comparing two averages. There is no floor: nobody knows the entropy of a person's text. A low number does
not say that what is made reads well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mintage.core.protocols import Scores
from mintage.core.spec import PAD, Batch, Cond, Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.intervals import mean, spread, weights

ROWS = 16  # windows read at once
ITEMS = 500  # grids
GRIDS = 50  # of them read at once
TEXT = ("utf-8",)  # the channels of ids that spell a text
GAIN = "nats gained over the sketch"  # per character or token
LN2 = 0.6931471805599453


@dataclass(frozen=True)
class Passage:
    """A held-out passage.

    Attributes:
        ids: Token ids. [T]
        lead: How many of the first are only context; never more than half of the model's.
        characters: Characters that the others spell; of what is no text, how many they are.
        bytes: Bytes that the others spell; of what is no text, the events that they say, such as notes.
        cond: What came with the text, rows of one.
    """

    ids: Tensor
    lead: int
    characters: int
    bytes: int
    cond: Cond


def nats(model: Scores, passages: Sequence[Passage], context: int) -> Tensor:
    """Negative log probability in nats of each passage after its lead: float64 [N]."""
    total = torch.zeros(len(passages), dtype=torch.float64)
    cuts: list[tuple[int, Tensor, float, Mapping[str, Tensor]]] = []  # passage, window, sign, conditions
    half = context // 2
    for i, passage in enumerate(passages):
        for start in range(0, max(1, len(passage.ids) - half), half):
            window, known = passage.ids[start : start + context], context - half if start else passage.lead
            cuts.append((i, window, -1.0, passage.cond))
            if known > 1:  # what was scored before, or is only context, is taken off again
                cuts.append((i, window[:known], 1.0, passage.cond))
    cuts.sort(key=lambda cut: len(cut[1]))  # windows of a batch need little padding
    for start in range(0, len(cuts), ROWS):
        owner, windows, sign, conds = zip(*cuts[start : start + ROWS], strict=True)
        x = torch.nn.utils.rnn.pad_sequence(list(windows), batch_first=True, padding_value=PAD).long()
        cond = {name: torch.cat([c[name] for c in conds]) for name in conds[0]}
        length = torch.tensor([len(w) for w in windows])
        with torch.inference_mode():
            found = model.log_prob(Batch(x, cond, torch.ones(len(x)), length))
        total.index_add_(0, torch.tensor(owner), found.double() * torch.tensor(sign).double())
    return total


def bits(model: Scores, x: Tensor, cond: Cond) -> Tensor:
    """Negative log2 probability per number of each grid [N, ...] under its condition [N]. [N]"""
    found = []
    for start in range(0, len(x), GRIDS):
        rows = slice(start, start + GRIDS)
        part, given = x[rows], {name: values[rows] for name, values in cond.items()}
        with torch.inference_mode():
            found.append(-model.log_prob(Batch(part, given, torch.ones(len(part)), torch.full((len(part),), part.shape[-1]))))
    return torch.cat(found).double() / (x[0].numel() * LN2)


class Metric:
    """Nats per character and bits per byte on test passages of texts, nats per token and per event of other tokens.

    With the sketch in ``extra``, what was gained over it. Bits per dimension on grids,
    the bytes themselves; a bound where the model has only one.
    """

    question = "real"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Only held-out items mean something."""
        return None if n >= 1 else say("likelihood needs held-out items, and there are none")

    def __call__(self, evidence: Evidence) -> list[Score]:
        """Empty for a model without likelihood, and for the floor, which has no model."""
        if evidence.target.kind == "grid":
            if not isinstance(evidence.model, Scores) or not len(evidence.test):
                return []
            x = evidence.test[:ITEMS]
            cond = {name: values[: len(x)] for name, values in evidence.extra["given"].items()}
            noise, n = evidence.noise.fork("likelihood"), f"n = {len(x)}"
            return [Score("bits per dimension", *mean(bits(evidence.model, x, cond), noise), "lower", note=n)]
        passages: Sequence[Passage] = evidence.extra.get("passages", ())
        if not passages or not isinstance(evidence.model, Scores):
            return []
        context = evidence.target.size("token")
        lost = nats(evidence.model, passages, context)
        characters = torch.tensor([p.characters for p in passages]).double()
        octets = torch.tensor([p.bytes for p in passages]).double()
        draw = weights(len(passages), evidence.noise.fork("likelihood"))
        text = evidence.target.channels == TEXT
        read = int(characters.sum())
        note = say("{n} characters of held-out text", n=read) if text else say("{n} held-out tokens", n=read)

        def rate(per: Tensor, unit: float = 1.0, of: Tensor = lost) -> tuple[float, float, float]:
            return spread(float(of.sum() / per.sum() / unit), (draw @ of) / (draw @ per) / unit)

        scores = [
            Score("nats per character" if text else "nats per token", *rate(characters), "lower", note=note),
            Score("bits per byte", *rate(octets, LN2), "lower", note=note),
        ]
        if not text:
            events = say("{n} held-out events", n=int(octets.sum()))
            scores[1] = Score("nats per event", *rate(octets), "lower", note=events)
        sketch = evidence.extra.get("sketch")
        if sketch is not None and sketch is not evidence.model:
            gain = rate(characters, of=nats(sketch, passages, context) - lost)
            scores.append(Score(GAIN, *gain, "higher", note=note))
        return scores
