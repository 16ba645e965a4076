"""The journal: every decision that deviates from the recipe, replayed to the same model, clock, noise and rate.

Rows: ``resolve`` (forecast checked at a quarter; steps may change from there), ``extend`` (a finished run given more
minutes), ``rollback`` (not a number; other noise, half the rate), ``alarm`` (the family saw the training go wrong; it
starts again from step 0 with changed settings) and ``afresh`` (the states from before an alarm are gone).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mintage.core import registry
from mintage.core.config import from_json, parse, pick, to_json
from mintage.core.spec import Recipe
from mintage.nn.trainer import Clock, Training


@dataclass
class Story:
    """Where the decisions so far have led."""

    recipe: Recipe  # with the cures of its alarms
    clock: Clock
    minutes: float
    salt: int = 0
    lr_factor: float = 1.0
    rollbacks: int = 0  # since the last alarm
    checked: set[int] = field(default_factory=set)
    ahead: dict[int, Any] = field(default_factory=dict)  # decisions later than the state that was loaded, by step
    alarms: list[Mapping[str, Any]] = field(default_factory=list)
    unswept: bool = False  # states from before the last alarm may still lie there
    extended: bool = False


def changed(recipe: Recipe, change: Mapping[str, str]) -> Recipe:
    """The recipe with some settings of its family or of its training replaced, given as ``-o`` takes them."""
    config_class = registry.get("families", recipe.family, "Config")
    values = parse([f"{key}={value}" for key, value in change.items()], [config_class, Training])
    config = pick(config_class, values, from_json(config_class, recipe.config))
    training = pick(Training, values, pick(Training, recipe.training))
    return replace(recipe, config=to_json(config), training=to_json(training), batch=training.batch)


def replay(recipe: Recipe, rows: Sequence[Mapping[str, Any]], upto: float = math.inf) -> Story:
    """Apply every row in order; clock decisions after step ``upto`` are left for when it is reached."""
    story = Story(recipe, Clock(recipe.steps, recipe.knots), recipe.minutes)
    for row in rows:
        if row.get("kind") == "resolve":
            story.checked.add(row["quarter"])
            if row["knots"] and row["at"] <= upto:
                story.clock.resolve(row["at"], row["knots"])
            elif row["knots"]:
                story.ahead[row["at"]] = row["knots"]
        elif row.get("kind") == "extend":
            clock = Clock(knots=row["knots"])
            story = replace(story, clock=clock, minutes=row["minutes"], checked=set(), ahead={}, extended=True)
        elif row.get("kind") == "rollback":
            story.salt, story.lr_factor, story.rollbacks = row["salt"], row["lr_factor"], story.rollbacks + 1
        elif row.get("kind") == "alarm":
            cured, alarms = changed(story.recipe, row["change"]), [*story.alarms, row]
            story = Story(cured, Clock(knots=row["knots"]), story.minutes, alarms=alarms, unswept=True)
        elif row.get("kind") == "afresh":
            story.unswept = False
    return story
