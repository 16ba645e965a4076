"""The journal: every decision that deviates from the recipe, replayed to the same clock, noise and rate.

Rows: ``resolve`` (forecast checked at a quarter; steps may change from there), ``extend`` (a finished run given more
minutes), ``rollback`` (not a number; other noise, half the rate).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mintage.core.spec import Recipe
from mintage.nn.trainer import Clock


@dataclass
class Story:
    """Where the decisions so far have led."""

    clock: Clock
    minutes: float
    salt: int = 0
    lr_factor: float = 1.0
    checked: set[int] = field(default_factory=set)
    ahead: dict[int, Any] = field(default_factory=dict)  # decisions later than the state that was loaded, by step


def replay(recipe: Recipe, rows: Sequence[Mapping[str, Any]], upto: float = math.inf) -> Story:
    """Apply every row in order; clock decisions after step ``upto`` are left for when it is reached."""
    story = Story(Clock(recipe.steps, recipe.knots), recipe.minutes)
    for row in rows:
        if row.get("kind") == "resolve":
            story.checked.add(row["quarter"])
            if row["knots"] and row["at"] <= upto:
                story.clock.resolve(row["at"], row["knots"])
            elif row["knots"]:
                story.ahead[row["at"]] = row["knots"]
        elif row.get("kind") == "extend":
            story = Story(Clock(knots=row["knots"]), row["minutes"], story.salt, story.lr_factor)
        elif row.get("kind") == "rollback":
            story.salt, story.lr_factor = row["salt"], row["lr_factor"]
    return story
