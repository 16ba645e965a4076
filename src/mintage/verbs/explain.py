"""explain: every hop of a run, with the file and line where it happens.

The hops are looked up in the code itself, so the lines are right by construction; a hop whose function was renamed
fails a test rather than pointing nowhere.
"""

from __future__ import annotations

import inspect as python_inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mintage
from mintage import trust
from mintage.core import registry
from mintage.core.words import say
from mintage.nn.trainer import Trainer
from mintage.verbs import dataset, evaluate, generate, load, plan
from mintage.verbs import inspect as inspect_verb


@dataclass(frozen=True)
class Hop:
    """One step of the way: what happens, and where."""

    verb: str
    what: str
    where: str

    def __str__(self) -> str:
        return f"{self.verb:<9} {self.what:<78} {self.where}"


def line_of(thing: Callable[..., Any]) -> str:
    """``file:line`` of a function, relative to the package."""
    root = Path(mintage.__file__).parent.parent
    file = Path(python_inspect.getsourcefile(thing) or "").resolve()
    shown = file.relative_to(root.resolve()) if file.is_relative_to(root.resolve()) else file
    return f"{shown}:{python_inspect.getsourcelines(thing)[1]}"


def explain(model: str, runs: str = "") -> list[Hop]:
    """The hops of a run, from its files to its verdict.

    Raises:
        UsageError: There is no such model.
    """
    loaded = load.load(model, runs)
    recipe = loaded.recipe
    codec, family = registry.get("modalities", recipe.modality), registry.get("families", recipe.family)
    task = registry.get("tasks", recipe.task)
    hops: list[tuple[str, str, Callable[..., Any]]] = [
        ("inspect", say("files are found and each is fully decoded once"), inspect_verb.inspect),
        ("inspect", say("the one way in: gates admit or set aside, with a reason"), trust.admit),
        ("train", say("the codec learns its statistics from the train split"), codec.fit),
        ("train", say("sizes and steps are solved from data, minutes and machine"), plan.solve),
        ("train", say("items are encoded once into a memory-mapped cache"), dataset.build),
        ("train", say("the task makes a condition from the example"), task.corrupt),
        ("train", say("the family's loss, one number an example"), family.loss),
        ("train", say("one step: loss, gradient, clipping, optimiser, average"), Trainer.step),
        ("train", say("the model folder is written in one move"), load.save_model),
        ("generate", say("chunks of constant size are sampled, each row from its own seed"), generate.draw),
        ("generate", say("the family's sampler"), family.sample),
        ("generate", say("tensors become content"), codec.decode),
        ("generate", say("the one way out: guard, visible label, metadata"), trust.release),
        ("evaluate", say("five questions, each beside held-out real data and the sketch"), evaluate.evaluate),
    ]
    if hasattr(family, "settle"):
        hops.insert(7, ("train", say("closed-form fitting"), family.settle))
    if recipe.first is not None:
        first = registry.get("families", recipe.first.family)
        hops[5:5] = [
            ("train", say("stage 1 of 2: {family} learns to code, a whole run in stages/", family=recipe.first.family), first.loss),
            ("train", say("stage 2 of 2: {family} sees codes in place of examples", family=recipe.family), first.encode),
        ]
        decoded = next(i for i, hop in enumerate(hops) if hop[2] is codec.decode)
        hops.insert(decoded, ("generate", say("codes become an example"), first.decode))
    return [Hop(verb, what, line_of(where)) for verb, what, where in hops]
