"""A model folder, written and read: safetensors and JSON, uploadable as it is, never pickle.

``model/`` holds ``model.safetensors`` (averaged weights), ``card.json`` (everything needed to rebuild codec, task and
model), ``README.md`` (a model card in the hub's layout) and ``sketch/`` (the nested baseline). It stands alone: no run
folder and no training data are needed to generate from it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

import mintage
from mintage.core import registry
from mintage.core.config import from_json, to_json
from mintage.core.errors import StoreError
from mintage.core.protocols import Codec, Learns, Task
from mintage.core.spec import Recipe
from mintage.core.store import (
    Run,
    content_hash,
    find_run,
    load_tensors,
    read_json,
    replace_folder,
    save_tensors,
    write_bytes,
    write_json,
)
from mintage.core.words import say
from mintage.nn.noise import Noise
from mintage.nn.staged import Staged, modelled
from mintage.verbs import cards

if TYPE_CHECKING:
    from mintage.verbs.evaluate import Report
    from mintage.verbs.generate import Made

FORMAT = 1


LEARNED = "codec.safetensors"  # what a codec learned beyond its recipe, in a run and in a model folder


def build_codec(recipe: Recipe, folder: Path | None = None) -> Codec:
    """The fitted codec of a recipe, with what it learned where ``folder`` holds that."""
    codec: Codec = registry.get("modalities", recipe.modality)()
    codec.restore(recipe.codec)
    if folder is not None and isinstance(codec, Learns) and (folder / LEARNED).exists():
        codec.equip(load_tensors(folder / LEARNED))
    return codec


def build_task(recipe: Recipe) -> Task:
    """The task of a recipe."""
    given = {name: spec for name, spec in recipe.cond.items() if name in ("class", "caption")}
    task: Task = registry.get("tasks", recipe.task)(recipe.target, given)
    if hasattr(task, "repair"):
        task.repair = float(recipe.training["repair"]) if "repair" in recipe.training else task.repair
    return task


def build_model(recipe: Recipe, family: str = "") -> Any:
    """The untrained model of a recipe (or its sketch), its start drawn from the recipe's seed."""
    family = family or recipe.family
    config_class = registry.get("families", family, "Config")
    config = from_json(config_class, recipe.config) if family == recipe.family else config_class()
    first = build_model(recipe.first) if recipe.first and family == recipe.family else None
    target, cond = modelled(first.latent, recipe.cond) if first is not None else (recipe.target, recipe.cond)
    with Noise(recipe.seed, family).seeded():
        model = registry.get("families", family)(target, cond, config)
    return Staged(first, model) if first is not None else model


@dataclass(frozen=True)
class Loaded:
    """A model ready to generate.

    Attributes:
        run: The run (or bare model folder) it came from.
        folder: The model folder itself.
        card: Content of ``card.json``.
        recipe: How it was trained.
        codec: Its fitted codec.
        task: Its task.
        model: The family's model with averaged weights.
        chunk: Rows a sampler always runs with, because float results change with the batch's shape.
    """

    run: Run
    folder: Path
    card: Mapping[str, Any]
    recipe: Recipe
    codec: Codec
    task: Task
    model: Any
    chunk: int

    @cached_property
    def model_hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the weights' file; empty while training."""
        path = self.folder / "model.safetensors"
        return content_hash(path.read_bytes())[:16] if path.exists() else ""

    @cached_property
    def sketch(self) -> Any:
        """The baseline that was fitted in seconds before the training."""
        path = self.folder / "sketch" / "model.safetensors"
        sketch = build_model(self.recipe, "sketch")
        fill(sketch, load_tensors(path), path)
        return sketch

    def generate(self, n: int | None = None, seed: int = 0, **more: Any) -> Made:
        """Make ``n`` samples and release them as files; see ``mintage.generate``."""
        from mintage.verbs.generate import generate

        return generate(str(self.run.path), n=n, seed=seed, **more)

    def evaluate(self, **more: Any) -> Report:
        """Judge the model; see ``mintage.evaluate``."""
        from mintage.verbs.evaluate import evaluate

        return evaluate(str(self.run.path), **more)


def fill(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Put weights into a model, or say that they do not belong to it."""
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise StoreError(
            say("{path} does not fit its card ({reason}); restore the folder or train again.", path=path, reason=first)
        ) from error


def save_model(folder: Path, recipe: Recipe, weights: Mapping[str, Tensor], sketch: nn.Module, facts: Mapping[str, Any]) -> None:
    """Write a model folder beside its place and put it there in one move.

    Args:
        folder: Where it goes; what stood there is replaced.
        recipe: How it was trained.
        weights: The averaged weights.
        sketch: The fitted baseline.
        facts: More lines for the card: steps done, minutes, numbers of the data, energy.
    """
    temp = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temp, ignore_errors=True)
    (temp / "sketch").mkdir(parents=True)
    save_tensors(temp / "model.safetensors", weights, {"made_by": f"mintage {mintage.__version__}, AI"})
    save_tensors(temp / "sketch" / "model.safetensors", sketch.state_dict())
    if (folder.parent / LEARNED).exists():
        shutil.copyfile(folder.parent / LEARNED, temp / LEARNED)
    card = {
        "format": FORMAT,
        "mintage": mintage.__version__,
        "recipe": to_json(without_paths(recipe)),
        **facts,
    }
    write_json(temp / "card.json", card)
    write_bytes(temp / "README.md", cards.model_card(card).encode())
    replace_folder(temp, folder)


def parent_name(parent: str) -> str:
    """What a person calls the model in this folder; empty for none."""
    path = Path(parent)
    return path.parent.name if path.name == "model" else path.name


def without_paths(recipe: Recipe) -> Recipe:
    """The recipe as it may leave the machine."""
    first = without_paths(recipe.first) if recipe.first else None
    return replace(recipe, data=Path(recipe.data).name, parent=parent_name(recipe.parent), first=first)


def model_folder(run: Run) -> Path:
    """The finished model, else the newest live one, else the folder itself when it is a bare model."""
    for folder in (run.model, run.live, run.path):
        if (folder / "card.json").exists() or (folder / "model.safetensors").exists():  # one without the other is damage
            return folder
    raise StoreError(say("{path} holds no model yet; run the same training command again to go on.", path=run.path))


DAMAGE = (KeyError, TypeError, ValueError, AttributeError)  # what a wrong value in a file may raise where it is used


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError(say("{path} is damaged ({reason}); restore it from a copy or train again.", path=path, reason=error))


def read_recipe(path: Path) -> Recipe:
    """The frozen recipe of a run."""
    try:
        return from_json(Recipe, read_json(path))
    except DAMAGE as error:
        raise _damaged(path, error) from error


def load(model: str | Path, runs: str = "", weights: Path | None = None) -> Loaded:
    """Open a model by its run's folder, its name under the runs folder, or its own folder.

    Args:
        model: Folder or name.
        runs: Folder of runs; MINTAGE_RUNS or ``runs`` if empty.
        weights: A snapshot to use in place of the model's weights.

    Raises:
        UsageError: No such model.
        StoreError: The folder is damaged; the sentence names the file.
    """
    run = find_run(str(model), runs)
    folder = model_folder(run)
    card = read_json(folder / "card.json", "recipe")
    try:
        recipe = from_json(Recipe, card["recipe"])
        if run.recipe.exists():  # only the run, which never leaves, knows where the data lies
            recipe = replace(recipe, data=read_json(run.recipe, "data")["data"])
        codec, task, net = build_codec(recipe, folder), build_task(recipe), build_model(recipe)
    except DAMAGE as error:
        raise _damaged(folder / "card.json", error) from error
    path = weights or folder / "model.safetensors"
    fill(net, load_tensors(path), path)
    torch.set_num_threads(recipe.threads)
    return Loaded(run, folder, card, recipe, codec, task, net.eval(), chunk_of(net, recipe))


def chunk_of(model: Any, recipe: Recipe) -> int:
    """Rows of one sampler call: the family's wish, else 64 small grids down to 8 large ones."""
    cells = 1
    for length in recipe.target.shape:
        cells *= max(1, length)
    return int(getattr(model, "chunk", 0)) or max(8, min(64, (1 << 18) // cells))
