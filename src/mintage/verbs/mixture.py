"""Whether a mixture of models is nearer to the data than its best member, with proof or a plain "no gain".

The two nearest contestants of a comparison, each making half: sample k by the member that its seed chooses, as ``generate
--with`` does. Two members were picked by the same judge, so a small gain is optimistic; one beyond the joint interval on
kernel distance that costs neither recall nor coverage is called a gain. It knows grids only: what a text gains is told by
likelihood, and a mixture of writers is not one writer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from mintage.core import registry
from mintage.core.spec import Evidence, Score
from mintage.core.words import say
from mintage.verbs.evaluate import beats
from mintage.verbs.evidence import Bench
from mintage.verbs.generate import maker_of
from mintage.verbs.plots import number
from mintage.verbs.ranking import Entry

JUDGES = ("kernel", "coverage")  # metrics; the first number of the first decides
NEAR = "kernel distance"


@dataclass(frozen=True)
class Mixture:
    """What came of mixing ``members``: the numbers of the mixture, and of its best member."""

    members: tuple[str, ...]
    scores: Mapping[str, Score]
    best: Mapping[str, Score]

    @property
    def gains(self) -> bool:
        """Nearer than its best member beyond the interval, and worse on nothing."""
        steps = {name: beats(score, self.best[name]) for name, score in self.scores.items() if name in self.best}
        return steps.get(NEAR, 0) == 1 and min(steps.values()) >= 0

    def __str__(self) -> str:
        told = {"a": self.members[0], "b": self.members[1], "name": say(NEAR)}
        values = {"mixed": number(self.scores[NEAR].value), "alone": number(self.best[NEAR].value)}
        if self.gains:
            return say(
                "A mixture of {a} and {b} (generate --with) is nearer than {a} alone: {name} {mixed}, not {alone}.",
                **told,
                **values,
            )
        return say("A mixture of {a} and {b}: no gain over {a} alone ({name} {mixed}, {a} alone {alone}).", **told, **values)


def measured(evidence: Evidence) -> dict[str, Score]:
    """What the judges say, by name."""
    found: dict[str, Score] = {}
    for name in JUDGES:
        metric = registry.get("metrics", name)()
        if not metric.refuse(evidence.target, len(evidence.test)):
            found |= {score.name: score for score in metric(evidence) if score.better != "none"}
    return found


def mixed(entries: Sequence[Entry], benches: Mapping[str, Bench]) -> Mixture | None:
    """The mixture of the two nearest contestants; None for texts, and where nothing can be judged."""
    near = [(line.made.value, entry.label) for entry in entries if (line := entry.report.line(NEAR)) is not None]
    labels = tuple(label for _, label in sorted(near)[:2])
    if len(labels) < 2 or benches[labels[0]].tokens:
        return None
    first, second = (benches[label] for label in labels)
    n = min(len(first.drawn[0]), len(second.drawn[0]))
    maker = torch.tensor(maker_of(range(first.seed, first.seed + n), 2))
    made = torch.where(maker.view(-1, *[1] * (first.drawn[0].ndim - 1)) == 0, first.drawn[0][:n], second.drawn[0][:n])
    best = replace(first.made, made=first.made.made[:n])
    alone = measured(best)
    return Mixture(labels, measured(replace(best, made=made, model=None)), alone) if NEAR in alone else None
