"""Stages: a run of two trainings that share the minutes, an autoencoder and then a model of its codes.

``--family vae+flow`` is latent flow, ``vae+gpt`` writes a picture code by code; ``--codec MODEL`` takes a trained
autoencoder in place of the first training. Here stands what belongs to which stage: families, options, minutes, codes.
The trainings themselves are ordinary ones (train.py); the two models in a row are ``nn.staged``.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import torch

from mintage.core import registry
from mintage.core.config import Within, from_json, parse, pick
from mintage.core.errors import RefusedError, UsageError
from mintage.core.registry import unknown
from mintage.core.spec import Batch, Recipe, Spec, Specs
from mintage.core.store import Run, load_tensors, read_json, write_json
from mintage.core.words import say
from mintage.nn.noise import Noise
from mintage.nn.staged import PASSED, Coded, Staged, modelled
from mintage.nn.trainer import Training
from mintage.verbs.dataset import Dataset
from mintage.verbs.inspect import data_keys
from mintage.verbs.load import build_model, fill, load

if TYPE_CHECKING:
    from mintage.verbs.plan import Wish

FAMILIES = {"grid": "flow", "tokens": "gpt"}  # of the last stage where only --codec is given
SHARES = {"grid": 0.6, "tokens": 0.4}  # of the minutes for the first stage, by the form of its codes


@dataclass(frozen=True)
class Config:
    """How two stages share the minutes.

    Attributes:
        share: Share of the first of two stages; 0 takes .6 before codes that are numbers and .4 before tokens.
    """

    share: Annotated[float, Within(0, 0.95)] = 0.0


def split(family: str) -> tuple[str, str]:
    """``vae+flow`` → (``vae``, ``flow``); a family alone has no first."""
    first, plus, last = family.partition("+")
    return (first, last) if plus else ("", family)


def has_codes(family: str) -> bool:
    """Can this family be a first stage?"""
    return hasattr(registry.get("families", family), "codes")


def latent_of(recipe: Recipe) -> Spec:
    """The form of the codes of a recipe's first stage; only the form, no number is stored."""
    if recipe.first is None:
        raise ValueError("This recipe has one stage.")
    with torch.device("meta"):
        latent: Spec = build_model(recipe.first).latent
    return latent


def offered(first: str, target: Spec, cond: Specs, pairs: Sequence[str]) -> Spec:
    """The form of a family's codes under these ``-o`` pairs."""
    model_class, config_class = (registry.get("families", first, part) for part in ("Model", "Config"))
    with torch.device("meta"):
        latent: Spec = model_class(target, cond, pick(config_class, parse(pairs, [config_class, Training], data_keys()))).latent
    return latent


def bridge(first: str, last: str, target: Spec, cond: Specs, own: Sequence[str] = ()) -> tuple[tuple[str, ...], str]:
    """How the last family can model the codes of the first: the first's ``-o`` pairs, and why it cannot (empty if it can).

    Args:
        first: Family of the autoencoder, in the first of its ``codes`` that the last family can model.
        last: Family of the second stage.
        target: The data's form.
        cond: The data's conditions.
        own: What the person set for the first stage; it goes before.
    """
    model = registry.get("families", last)
    if not has_codes(first):
        return (), say("{family} has no codes that a second stage could model.", family=first)
    if target.kind != "grid":
        return (), say("Two stages model grids, and this data is tokens.")
    if refused := registry.get("families", first).refuse(target, cond):
        return (), str(refused)
    for settings in registry.get("families", first).codes.values():
        pairs = tuple(f"{key}={value}" for key, value in settings.items())
        refused = model.refuse(*modelled(offered(first, target, cond, (*pairs, *own)), cond))
        if not refused:
            return (*pairs, *own), ""
    return (), str(refused)


def fitting(target: Spec, cond: Specs) -> list[str]:
    """Every pair that works on this data, as ``--family`` takes it."""
    names = [name for name in registry.names("families") if name != "sketch"]
    pairs = [(a, b) for a in names if has_codes(a) for b in names if not has_codes(b)]
    return [f"{a}+{b}" for a, b in pairs if not bridge(a, b, target, cond)[1]]


def routed(options: Sequence[str], first: str, last: str) -> tuple[tuple[str, ...], tuple[str, ...], float]:
    """``-o`` pairs of the first stage, of the last, and the first's share of the minutes (0: not said).

    ``family.key`` says which stage is meant. Else a key goes to the last stage if that knows it, and to the first if not.

    Raises:
        UsageError: A key that neither knows.
    """
    own = {name: [registry.get("families", name, "Config"), Training] for name in (first, last)}
    parts: dict[str, list[str]] = {first: [], last: []}
    share = 0.0
    for pair in options:
        name, dot, rest = pair.partition("=")[0].partition(".")
        if dot:
            if name not in own:
                raise UsageError(unknown("-o", f"{name}.{rest}", [f"{known}.KEY" for known in own]))
            parts[name].append(pair.removeprefix(f"{name}."))
            continue
        values = parse([pair], [*own[first], *own[last], Config], data_keys())
        if name in data_keys():  # of the data
            parts[first].append(pair)
            parts[last].append(pair)
        elif name == "share":
            share = float(values[name])
        else:
            mine = any(name in kind.__dataclass_fields__ for kind in own[last])
            parts[last if mine else first].append(pair)
    return tuple(parts[first]), tuple(parts[last]), share


def shared(wish: Wish, recipe: Recipe) -> tuple[Wish, Wish]:
    """One wish for two stages as a wish for each: families, options, minutes.

    Raises:
        RefusedError: What was set for the first stage gives codes that the last cannot model.
    """
    first, last = split(wish.family)
    own, after, share = routed(wish.options, first, last)
    pairs, reason = bridge(first, last, recipe.target, recipe.cond, own)
    if reason:
        raise RefusedError(reason)
    minutes = wish.minutes * (share or SHARES[offered(first, recipe.target, recipe.cond, pairs).kind])
    ahead = replace(wish, family=first, options=pairs, minutes=minutes)
    return ahead, replace(wish, family=last, options=after, minutes=wish.minutes - minutes)


def of_codec(wish: Wish, recipe: Recipe) -> tuple[Recipe, Wish]:
    """The recipe with a trained autoencoder as its first stage, and the wish for the last.

    Raises:
        RefusedError: It has no codes, was made for examples of another form, or the last family cannot model its codes.
        UsageError: Another first family, or a setting of the first stage, was asked for.
    """
    loaded, (asked, last) = load(wish.codec), split(wish.family)
    found = loaded.recipe
    if found.first is not None or not has_codes(found.family):
        sentence = "--codec {model} is a {family}, which has no codes; name a trained autoencoder."
        raise RefusedError(say(sentence, model=wish.codec, family=found.title))
    if asked not in ("", found.family):
        sentence = "--codec {model} is a {family}, and --family asks for {asked}; leave one of them out."
        raise UsageError(say(sentence, model=wish.codec, family=found.family, asked=wish.family))
    if (found.modality, found.target) != (recipe.modality, recipe.target):
        theirs, ours = ("×".join(map(str, spec.shape)) for spec in (found.target, recipe.target))
        sentence = "--codec {model} was made for items of {theirs}, and these are {ours}; choose that --size or train another."
        raise RefusedError(say(sentence, model=wish.codec, theirs=theirs, ours=ours))
    latent = latent_of(replace(recipe, first=found))
    last = last or FAMILIES[latent.kind]
    if reason := registry.get("families", last).refuse(*modelled(latent, recipe.cond)):
        raise RefusedError(reason)
    own, after, _ = routed(wish.options, found.family, last)
    if fixed := [pair for pair in own if pair.partition("=")[0] not in data_keys()]:
        sentence = "-o {pair} is a setting of the first stage, and --codec {model} is trained already; leave it out."
        raise UsageError(say(sentence, pair=fixed[0], model=wish.codec))
    options = {**recipe.options, "codec": loaded.model_hash}  # another autoencoder makes another run
    return replace(recipe, first=found, options=options), replace(wish, family=last, options=after)


def place(run: Run, recipe: Recipe) -> Run:
    """Where the first stage of a run lies: a run of its own inside."""
    return Run(run.path / "stages" / (recipe.first or recipe).family)


def lay(run: Run, recipe: Recipe, model: str) -> None:
    """Put a trained autoencoder there as the finished first stage."""
    own, found = place(run, recipe), load(model)
    shutil.rmtree(own.path, ignore_errors=True)
    shutil.copytree(found.folder, own.model)
    write_json(own.path / "finished.json", {"step": found.card.get("steps", 0), "minutes": found.card.get("minutes", 0.0)})


def as_trained(run: Run, recipe: Recipe) -> Recipe:
    """The recipe with the first stage as its training left it: an alarm may have changed its settings."""
    first = from_json(Recipe, read_json(place(run, recipe).model / "card.json", "recipe")["recipe"])
    return replace(recipe, first=first)


def bare(dataset: Dataset) -> Dataset:
    """The data of the first stage: its codes must say all, so it sees no class and no caption."""
    return Dataset(dataset.target, {name: replace(part, given={}) for name, part in dataset.parts.items()})


def begin(model: Staged, run: Run, recipe: Recipe, dataset: Dataset) -> None:
    """The second stage's step 0: take over the first's weights and learn the range of its codes."""
    path = place(run, recipe).model / "model.safetensors"
    fill(model.first, load_tensors(path), path)
    model.learn_range(dataset.settling())


class Codes(Dataset):
    """The data of a second stage: its training batches hold the codes of the examples, made once."""

    def __init__(self, model: Staged, dataset: Dataset, dtype: str, most: int = 0) -> None:
        """``most`` codes are made and stand for all others, where only time is measured; 0 makes all, in ``dtype``."""
        super().__init__(dataset.target, dataset.parts)
        made: list[torch.Tensor] = []
        for batch in dataset.settling():
            made.append(model.inside(replace(batch, x=batch.x.to(model.mean.device)), getattr(torch, dtype)).x.cpu())
            if most and sum(map(len, made)) >= most:
                break
        self._codes = torch.cat(made)

    def batch(self, step: int, size: int, seed: int, noise: Noise) -> Batch:
        """The codes of the examples of one step."""
        items, part = self.items(step, size, seed), self.parts["train"]
        x = self._codes[items % len(self._codes)]
        cond = {name: values[items] for name, values in part.given.items() if name in PASSED}
        return Coded(x, cond, part.weight[items], torch.full((size,), x.shape[-1]), tuple(part.ids[i] for i in items[:1]))


def coded(model: Any, recipe: Recipe, dataset: Dataset, most: int = 0) -> Dataset:
    """What a model's training draws its batches from: of a second stage codes, unless altered copies are to be encoded too."""
    plain = recipe.first is None or recipe.training.get("augment") == "yes" or isinstance(dataset, Codes)
    return dataset if plain else Codes(model, dataset, recipe.dtype, most)


def facts(run: Run, recipe: Recipe, own: Mapping[str, Any]) -> dict[str, Any]:
    """A card's facts with the first stage's minutes and energy added, and its steps and minutes told apart."""
    if recipe.first is None:
        return dict(own)
    card = read_json(place(run, recipe).model / "card.json")
    sums = {key: round(own[key] + float(card.get(key, 0.0)), 4) for key in ("minutes", "energy_wh")}
    told = {"family": recipe.first.family, "steps": card.get("steps", 0), "minutes": card.get("minutes", 0.0)}
    return {**own, **sums, "first": told}
