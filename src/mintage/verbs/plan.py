"""The plan: from what was found and the minutes given to a frozen recipe, solved once and shown before step 0.

The family says which sizes fit (``Model.fit``), one rehearsal of each phase at full size on the real data says what a
step costs on this machine, and the minutes say how many steps that buys. ``--dry-run`` stops here.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mintage.core import registry
from mintage.core.config import attribute_help, from_json, parse, pick, to_json
from mintage.core.errors import RefusedError, UsageError
from mintage.core.machine import WATTS_PER_CORE, Machine, measure
from mintage.core.protocols import Codec, Fits
from mintage.core.spec import Phase, Recipe, Spec
from mintage.core.words import say
from mintage.nn.noise import Noise
from mintage.nn.staged import modelled
from mintage.nn.trainer import Clock, Trainer, Training
from mintage.verbs import augment, parent, stages
from mintage.verbs.dataset import Dataset, build, longest
from mintage.verbs.equip import kept_for
from mintage.verbs.inspect import Inspection, codec_for, data_keys, dataset_hash
from mintage.verbs.load import build_codec, build_model, build_task, parent_name
from mintage.verbs.medium import default_family

REHEARSAL_SECONDS = 1.0
MIN_STEPS = 10  # of any part of a training
OVERHEAD = 0.04  # share of the budget that previews and checkpoints take


@dataclass(frozen=True)
class Wish:
    """What the person asked for, before anything was looked at.

    Attributes:
        data: Folder, file or sample name.
        family: Family, or empty for the medium's default.
        task: Task.
        minutes: Training budget.
        size: Example size, or empty.
        seed: Seed of all randomness.
        name: Run name, or empty.
        options: ``-o`` pairs.
        parent: Model to start from (a run, its name or its folder), or empty.
        codec: Trained autoencoder whose codes are to be modelled, or empty.
    """

    data: str
    family: str = ""
    task: str = "generate"
    minutes: float = 5.0
    size: str = ""
    seed: int = 0
    name: str = ""
    options: tuple[str, ...] = ()
    parent: str = ""
    codec: str = ""


@dataclass(frozen=True)
class Outline:
    """A recipe without steps, and the data encoded for it."""

    recipe: Recipe
    dataset: Dataset


@dataclass(frozen=True)
class Plan:
    """A recipe with the data it was solved for and what it will cost.

    Attributes:
        recipe: The frozen recipe.
        dataset: Encoded data.
        step_seconds: Measured seconds of one step of each phase.
        memory: Peak resident memory of the rehearsal, bytes.
        watt_hours: Estimated energy of the training.
        first: The plan of the first stage where there is one to train.
        notes: What was found on the way, for a person.
    """

    recipe: Recipe
    dataset: Dataset
    step_seconds: Mapping[str, float]
    memory: int
    watt_hours: float
    first: Plan | None = None
    notes: tuple[str, ...] = ()


def options_of(wish: Wish) -> dict[str, str]:
    """The ``-o`` pairs, the size and the base as a mapping: what the person fixed by hand."""
    pairs = dict(pair.split("=", 1) for pair in wish.options if "=" in pair)
    flags = {"size": wish.size, "from": parent_name(wish.parent)}
    return {**pairs, **{key: value for key, value in flags.items() if value}}


def choose_family(modality: str, family: str, task: str, target: Spec, cond: Mapping[str, Spec]) -> str:
    """The family, checked against what it can model before any tensor exists.

    Raises:
        RefusedError: It cannot; the sentence names the families that can.
    """
    name = family or default_family(registry.get("modalities", modality))
    first, last = stages.split(name)
    refused = stages.bridge(first, last, target, cond)[1] if first else registry.get("families", last).refuse(target, cond)
    reason = refused or registry.get("tasks", task).refuse(target, cond)
    if not reason:
        return name
    fitting = [f for f in registry.names("families") if not registry.get("families", f).refuse(target, cond)]
    fitting += stages.fitting(target, cond)
    raise RefusedError(f"{reason} " + say("For this data choose --family {families}.", families=", ".join(fitting)))


def choose_view(codec: Any, inspection: Inspection, wish: Wish, given: Mapping[str, Spec]) -> Spec:
    """The first view of the data that the wished family can model, of the kind it prefers, at a size that fits the minutes.

    Raises:
        UsageError: ``--size`` is not one of this medium.
    """
    views = list(codec.views().values())
    first, last = stages.split(wish.family or default_family(codec))
    family = registry.get("families", first or last)
    fitting = [view for view in views if not family.refuse(view, given)] or views[:1]
    view: Spec = next((view for view in fitting if view.kind == getattr(family, "prefers", view.kind)), fitting[0])
    if hasattr(codec, "sized"):
        view = codec.sized(view, inspection.shapes, wish.minutes, wish.size)
    return view


def peak_memory() -> int:
    """Peak resident memory of this process, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def rehearse(recipe: Recipe, dataset: Dataset) -> dict[str, float]:
    """Seconds of one step of each phase, on a throw-away model at full size."""
    model = build_model(recipe).to(recipe.device)
    task, dataset = build_task(recipe), stages.coded(model, recipe, dataset, recipe.batch)
    training = pick(Training, recipe.training)
    trainer = Trainer(model, training, Clock(1000), recipe.seed, recipe.dtype, recipe.device)
    costs: dict[str, float] = {}
    for lane in trainer.lanes:
        middle = (lane.phase.start + lane.phase.stop) / 2
        at = int(middle * 1000)
        times: list[float] = []
        stop = time.perf_counter() + REHEARSAL_SECONDS
        while len(times) < 3 or (time.perf_counter() < stop and len(times) < 12):
            begin = time.perf_counter()
            trainer.step_phase(lane, at, partial(training_batch, recipe, dataset, task, at))
            times.append(time.perf_counter() - begin)
        costs[lane.phase.name] = sorted(times[1:])[(len(times) - 1) // 2]
    return costs


def training_batch(recipe: Recipe, dataset: Dataset, task: Any, step: int, noise: Noise) -> Any:
    """The batch of a step with the task's corruption, on the training device."""
    batch = dataset.batch(step, recipe.batch, recipe.seed, noise.fork("data"))
    if recipe.training.get("augment") == "yes":
        batch = replace(batch, x=build_codec(recipe).augment(batch.x, recipe.target, noise.fork("augment")))
    cond = task.corrupt(batch.x, batch.cond, noise.fork("task"))
    if recipe.device == "cpu":
        return replace(batch, cond=cond)
    moved = {name: value.to(recipe.device) for name, value in cond.items()}
    return replace(
        batch,
        x=batch.x.to(recipe.device),
        cond=moved,
        weight=batch.weight.to(recipe.device),
        length=batch.length.to(recipe.device),
    )


def seconds_at(phases: Sequence[Phase], costs: Mapping[str, float], progress: float) -> float:
    """Cost of a step where training has come to ``progress``."""
    return sum(costs.get(p.name, 0.0) / p.every for p in phases if p.start <= progress < p.stop) or 1e-6


def knots(
    phases: Sequence[Phase], costs: Mapping[str, float], seconds: float, step: int = 0, progress: float = 0.0
) -> list[tuple[int, float]]:
    """Where the clock goes from (``step``, ``progress``) if ``seconds`` are left: a phase's share is one of time, not of steps."""
    ends = sorted({end for p in phases for end in (p.start, p.stop) if end > progress} | {1.0})
    found = []
    for end in ends:
        share = (end - progress) / (1 - progress) * seconds
        step += max(MIN_STEPS, int(share / seconds_at(phases, costs, (progress + end) / 2)))
        seconds, progress = seconds - share, end
        found.append((step, end))
    return found


def outline(wish: Wish, inspection: Inspection) -> Outline:
    """Everything that can be decided without running the model: codec, size, family, its widths, the encoded data.

    Raises:
        UsageError: A value that makes no sense, with the valid ones named.
        RefusedError: A family or task that does not fit this data.
    """
    if not 0.01 <= wish.minutes <= 60 * 24 * 30:
        raise UsageError(say("--minutes {minutes}: give a number above 0.01, such as 5.", minutes=wish.minutes))
    if not inspection.medium.clear:
        sentence = "{data} mixes media ({mix}), and none is more than half of it; choose with -o modality={names}."
        raise UsageError(say(sentence, data=wish.data, mix=inspection.medium.mix, names="|".join(inspection.medium.counts)))
    machine, codec = measure(), codec_for(inspection.modality, options_of(wish))
    train = inspection.split("train")
    codec.fit(inspection.contents(train), [item.given for item in train])
    registry.get("tasks", wish.task)
    base = parent.recipe_of(wish.parent) if wish.parent else None
    if base is not None and (base.first or wish.codec or stages.split(wish.family)[0]):
        raise UsageError(say("--from {name}: two stages start from an autoencoder by --codec; leave --from out.", name=wish.parent))
    if base is None:
        given = dict(codec.conditions())
        target = choose_view(codec, inspection, wish, given)
    else:
        asked = {"modality": inspection.modality, "family": wish.family, "task": wish.task, "size": wish.size}
        parent.refuse(base, wish.parent, asked, codec)
        (codec, given), target = parent.codec_of(base, codec), base.target
    asked_family = wish.family or (base.family if base else "")
    family = wish.family if wish.codec else choose_family(inspection.modality, asked_family, wish.task, target, given)
    first, last = stages.split(family)
    recipe = Recipe(
        data=wish.data, data_hash=dataset_hash(inspection.items), modality=inspection.modality, family=last,
        task=wish.task, seed=wish.seed, minutes=wish.minutes * (1 - kept_for(codec)), steps=0, batch=0, threads=machine.cores,
        dtype=machine.dtype, device=machine.device, target=target, cond=given, config={}, training={},
        codec=codec.state, options=options_of(wish), parent=wish.parent,
    )  # fmt: skip
    if first or wish.codec:
        return _staged(recipe, wish, inspection, codec, machine)
    outlined = _widths(recipe, wish, inspection, codec, machine, base)
    if base is not None:
        parent.check(outlined.recipe)
    return outlined


def _staged(recipe: Recipe, wish: Wish, inspection: Inspection, codec: Codec, machine: Machine) -> Outline:
    """Two trainings: an autoencoder, or one that is there already, and the family that models its codes."""
    if wish.codec:
        recipe, after = stages.of_codec(wish, replace(recipe, cond=build_task(recipe).cond))
    else:
        own, after = stages.shared(wish, recipe)
        draft = replace(recipe, family=own.family, minutes=own.minutes, options=options_of(own), cond={})  # codes say all
        ahead = _widths(draft, own, inspection, codec, machine, None)
        recipe = replace(recipe, cond=build_task(recipe).cond, first=ahead.recipe)
    dataset = build(inspection, codec, recipe.target, recipe.cond)
    target, cond = modelled(stages.latent_of(recipe), recipe.cond)
    config, training, _ = _sizes(after, target, cond, len(dataset) * max(1, target.size("token")), machine.speed)
    if target.kind == "tokens" and training.length:  # rows are short and all of one length
        training = fitted(training, np.array([target.size("token")]), False)
    training = replace(training, repair=0.0)  # the second stage sees no pixels that could be known
    recipe = replace(recipe, family=after.family, minutes=after.minutes, batch=training.batch)
    return Outline(replace(recipe, config=to_json(config), training=to_json(training)), dataset)


def _sizes(
    wish: Wish, target: Spec, cond: Mapping[str, Spec], n: int, speed: float, family: str = "", base: Recipe | None = None
) -> tuple[Any, Training, set[str]]:
    """A family's own sizes (or the base's) under the person's overrides: configuration, training, what was set by hand."""
    model_class, config_class = (registry.get("families", family or wish.family, part) for part in ("Model", "Config"))
    values = parse(wish.options, [config_class, Training], data_keys())
    config, own = config_class(), dict[str, Any]()
    if isinstance(model_class, Fits):
        config, own = model_class.fit(target, cond, n, wish.minutes, speed)
    if base is not None:
        config, own = from_json(config_class, base.config), own | {"length": base.training["length"]}
    training = pick(Training, values, pick(Training, own, Training(batch=64, lr=2e-3)))
    return pick(config_class, values, config), training, set(values)


def _widths(recipe: Recipe, wish: Wish, inspection: Inspection, codec: Codec, machine: Machine, base: Recipe | None) -> Outline:
    """The family's own sizes (or the base's) under the person's overrides, and the data encoded for them."""
    target = recipe.target.at(token=128) if recipe.target.kind == "tokens" else recipe.target
    dataset = build(inspection, codec, target, recipe.cond)
    cond = build_task(recipe).cond
    n = dataset.tokens or len(dataset)
    config, training, values = _sizes(wish, recipe.target, cond, n, machine.speed, recipe.family, base)
    if training.length and target.kind == "tokens":
        if "length" not in values and base is None:
            fixed = "batch" in values or getattr(registry.get("families", recipe.family), "whole", False)
            training = fitted(training, np.diff(dataset.parts["train"].offsets), fixed)
        target = target.at(token=training.length)
        dataset = Dataset(target, dataset.parts)
    recipe = replace(recipe, target=target, cond=cond, config=to_json(config), training=to_json(training), batch=training.batch)
    return Outline(recipe, dataset)


def fitted(training: Training, lengths: np.ndarray, fixed_batch: bool) -> Training:
    """Windows no longer than nearly all documents, and more of them: padding teaches nothing."""
    most = longest(lengths)
    if most >= training.length:
        return training
    batch = training.batch if fixed_batch else training.batch * training.length // most
    return replace(training, length=most, batch=batch)


def solve(outlined: Outline) -> Plan:
    """Rehearse a step of each phase, and turn minutes into steps."""
    recipe, dataset = outlined.recipe, outlined.dataset
    first = solve(Outline(recipe.first, stages.bare(dataset))) if recipe.first and not recipe.first.steps else None
    recipe = replace(recipe, first=first.recipe) if first else recipe
    phases = build_model(recipe).phases
    if not phases:
        return Plan(recipe, dataset, {}, peak_memory(), 0.0, first)
    decision, answer = augment.decide(recipe, dataset)
    recipe = replace(recipe, training={**recipe.training, "augment": decision})
    costs = rehearse(recipe, dataset)
    way = knots(phases, costs, recipe.minutes * 60 * (1 - OVERHEAD))
    fixed = int(recipe.training["steps"])
    way = [(fixed, 1.0)] if fixed else way
    energy = recipe.minutes / 60 * WATTS_PER_CORE * recipe.threads
    recipe, notes = replace(recipe, steps=way[-1][0], knots=((0, 0.0), *way)), (str(answer),) if answer else ()
    return Plan(recipe, dataset, costs, peak_memory(), energy, first, notes)


def run_name(wish: Wish, family: str) -> str:
    """``data-family[-task]``."""
    stem = Path(wish.data).resolve().stem if Path(wish.data).exists() else Path(wish.data).stem
    task = "" if wish.task == "generate" else f"-{wish.task}"
    return wish.name or f"{stem or 'data'}-{family.replace('+', '-')}{task}"


def describe(plan: Plan) -> str:
    """The plan in one line for a person, one for each stage."""
    recipe = plan.recipe
    before = f"{describe(plan.first)}\n" if plan.first else ""
    unit = say("tokens") if recipe.target.kind == "tokens" else getattr(registry.get("modalities", recipe.modality)(), "unit", "")
    size = "×".join(str(n) for n in recipe.target.shape[1 - len(recipe.target.shape) :])  # without the channels
    return before + say(
        "Plan: {family}, {size} {unit}, {steps} steps in {minutes} min on this {device}, {memory} GB, about {energy} Wh.",
        family=recipe.title, size=size, unit=unit,
        steps=recipe.steps, minutes=round(recipe.minutes, 2), device=recipe.device.upper(),
        memory=round(plan.memory / 1e9, 1), energy=round(plan.watt_hours, 2),
    )  # fmt: skip


def valid_keys(family: str) -> dict[str, str]:
    """Every ``-o`` key of a family with its help: of training, and of sampling where it has settings."""
    parts = [registry.get("families", family, "Config"), Training]
    with suppress(AttributeError):
        parts.append(registry.get("families", family, "Knobs"))
    return {name: text for part in parts for name, text in attribute_help(part).items()}
