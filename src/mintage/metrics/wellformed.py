"""Whether made tokens say a tune without a slip: places of a bar in order, every pitch with a length, nothing beyond its bar.

What is written is a valid file in any case, since slips are passed over; this says how often there were any. Only the
sketch and a model make slips, held-out tunes make none.
"""

from __future__ import annotations

from collections.abc import Sequence

from mintage.core.spec import EOS, Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.events import BARS, LASTS, METRE_TICKS, PITCHES, PLACES, VOLUMES
from mintage.nn.intervals import share

END = -1


def slips(ids: Sequence[int]) -> int:
    """Tokens of a row that say nothing, or what cannot be."""
    found, bar, place, waiting = 0, 0, END, 0
    for token in ids:
        if token == EOS:
            break
        if token >= PITCHES:
            found, waiting = found + (bar > 0 and place == END), waiting + 1
        elif BARS <= token < PLACES:
            found, bar, place, waiting = found + waiting, int(METRE_TICKS[token - BARS]), END, 0
        elif PLACES <= token < LASTS:
            here = token - PLACES
            found += waiting + (bar > 0 and not place < here < bar)
            place, waiting = here, 0
        elif LASTS <= token < VOLUMES:
            found, waiting = found + (bar > 0 and not waiting), 0
    return found


class Metric:
    """Share of made rows without a slip."""

    question = "real"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Tunes as tokens."""
        return None if target.channels[:1] == ("remi",) else say("slips are looked for in tunes as tokens")

    def __call__(self, evidence: Evidence) -> list[Score]:
        """One score; rows with slips are named."""
        rows = evidence.made.tolist()
        bad = [i for i, row in enumerate(rows) if slips(row)]
        return [Score("well-formed", *share(len(rows) - len(bad), len(rows)), "higher", tuple(bad), f"n = {len(rows)}")]
