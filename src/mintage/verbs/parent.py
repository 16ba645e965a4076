"""Starting from another model: its codec, its sizes and its weights, for data of one's own (``--from MODEL``).

The codec is the base's and is not fitted again; its texts can spell anything in bytes. Classes that the base does not
know are appended: their rows start as the row for "no class". Another medium, family, size or another number of
channels refuses with the base's values. What only training needs (critics) is taken from the base's last full state
where that is still there. It does not freeze anything and adds no adapters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from mintage.core import registry
from mintage.core.config import from_json
from mintage.core.errors import UsageError
from mintage.core.protocols import Codec, Inherits
from mintage.core.spec import Recipe, Spec
from mintage.core.store import Run, find_run, load_tensors, read_json
from mintage.core.words import say
from mintage.verbs.load import build_model, parent_name


def find_parent(model: str, runs: str = "") -> Path:
    """The folder of a finished model.

    Raises:
        UsageError: There is none of that name, or it is not finished.
    """
    run = find_run(model, runs)
    for folder in (run.model, run.path):
        if (folder / "card.json").exists():
            return folder.resolve()
    raise UsageError(say("--from {name}: that training is not finished; let it finish first.", name=model))


def recipe_of(parent: str) -> Recipe:
    """How the base was trained."""
    return from_json(Recipe, read_json(Path(parent) / "card.json", "recipe")["recipe"])


def refuse(base: Recipe, parent: str, asked: Mapping[str, str], own: Codec) -> None:
    """Check what was asked for against what the base is.

    Args:
        base: Its recipe.
        parent: Its folder.
        asked: ``modality``, ``family``, ``task`` and ``size``; empty means whatever the base has.
        own: A codec fitted on the new data.

    Raises:
        UsageError: They do not agree; the sentence gives the base's values.
    """
    name, shape = parent_name(parent), base.target.shape
    size = f"{shape[-2]}x{shape[-1]}" if base.target.kind == "grid" else ""
    has = {"modality": base.modality, "family": base.family, "task": base.task, "size": size}
    wanted = dict(asked)
    if size and wanted["size"].isdecimal():
        wanted["size"] = f"{wanted['size']}x{wanted['size']}"
    for key, value in wanted.items():
        if value and value != has[key]:
            sentence = say("--from {name}: its {key} is {has}, not {value}; leave it out or start from another model.",
                           name=name, key=key, has=has[key] or "–", value=value)  # fmt: skip
            raise UsageError(sentence)
    if base.target.kind == "grid" and own.views()["grid"].shape[0] > base.target.shape[0]:
        channels = ", ".join(base.target.channels)
        raise UsageError(
            say("--from {name}: it knows the channels {channels} alone; this data has more.", name=name, channels=channels)
        )


def codec_of(base: Recipe, own: Codec) -> tuple[Codec, dict[str, Spec]]:
    """The base's codec with new classes appended, and the conditions of this data.

    The class condition lists in ``slots`` which classes this data holds, when it does not hold them all.
    """
    mine, theirs = own.state, dict(base.codec)
    known, here = theirs.get("classes", []), mine.get("classes", [])
    state = theirs | {key: mine[key] for key in ("opening", "examples") if key in mine}
    state["classes"] = [*known, *(name for name in here if name not in known)] if here else []
    if not (mine.get("captions") and theirs.get("captions")):
        state |= {key: mine[key] for key in ("captions", "length") if key in mine}
    state["words"] = sorted({*theirs.get("words", ()), *mine.get("words", ())})
    codec: Codec = registry.get("modalities", base.modality)()
    codec.restore(state)
    given = dict(codec.conditions())
    if here and len(here) < len(state["classes"]):
        at = sorted(state["classes"].index(name) for name in here)
        given["class"] = replace(given["class"], slots=tuple((i, i + 1) for i in at))
    return codec, given


def _grown(mine: Tensor, theirs: Tensor, names: Sequence[str], known: Sequence[str]) -> Tensor | None:
    """A table with a row for each class (and perhaps one for none) under more classes; None if it is no such table."""
    axes = [i for i, (a, b) in enumerate(zip(mine.shape, theirs.shape, strict=False)) if a != b]
    if mine.ndim != theirs.ndim or len(axes) != 1:
        return None
    axis = axes[0]
    old = len(known)
    none = theirs.shape[axis] - old
    if none not in (0, 1) or mine.shape[axis] != len(names) + none or names[:old] != known:
        return None
    found = mine.clone().movedim(axis, 0)
    rows = theirs.to(mine).movedim(axis, 0)
    found[:old] = rows[:old]
    if none:
        found[old:] = rows[-1]
    return found.movedim(0, axis)


def _classes(cond: Mapping[str, Spec]) -> tuple[str, ...]:
    return cond["class"].channels if "class" in cond else ()


def matched(
    own: Mapping[str, Tensor], theirs: Mapping[str, Tensor], recipe: Recipe, base: Recipe
) -> tuple[dict[str, Tensor], list[str]]:
    """The base's weights in the form of this model's, by name; and the names whose shapes do not agree."""
    found, misfits = dict[str, Tensor](), list[str]()
    for name, value in theirs.items():
        if name not in own or not value.is_floating_point():
            continue  # counts and flags are a training's own
        mine = own[name]
        taken = value if mine.shape == value.shape else _grown(mine, value, _classes(recipe.cond), _classes(base.cond))
        if taken is None:
            misfits.append(name)
        else:
            found[name] = taken
    return found, misfits


def check(recipe: Recipe) -> None:
    """Refuse settings whose weights have other shapes than the base's.

    Raises:
        UsageError: They do not fit; the sentence names the settings that the person gave.
    """
    base, model = recipe_of(recipe.parent), build_model(recipe)
    numbers = {name for name, _ in model.named_parameters()}
    misfits = set(matched(model.state_dict(), load_tensors(Path(recipe.parent) / "model.safetensors"), recipe, base)[1])
    if wrong := sorted(misfits & numbers):
        changed = [key for key in recipe.options if key in base.config and recipe.config[key] != base.config[key]]
        keys = ", ".join(f"-o {key}" for key in changed) or "-o"
        sentence = say("--from {name}: {keys} would change the shape of its weights ({weight}); leave that out.",
                       name=parent_name(recipe.parent), keys=keys, weight=wrong[0])  # fmt: skip
        raise UsageError(sentence)


def inherit(model: nn.Module, recipe: Recipe) -> float:
    """Put the base's averaged weights into a new model; returns the share of its numbers that come from there."""
    folder, own = Path(recipe.parent), model.state_dict()
    theirs = load_tensors(folder / "model.safetensors")
    scaffold: Sequence[str] = getattr(model, "scaffold", ())
    if scaffold and (last := Run(folder.parent).newest_checkpoint()) is not None:
        whole = {name.removeprefix("model."): value for name, value in last.tensors.items() if name.startswith("model.")}
        theirs |= {name: value for name, value in whole.items() if name.startswith(tuple(f"{part}." for part in scaffold))}
    found, _ = matched(own, theirs, recipe, recipe_of(recipe.parent))
    model.load_state_dict({**own, **found})
    if isinstance(model, Inherits):
        model.inherit(theirs)
    sizes = {name: value.numel() for name, value in model.named_parameters()}
    return sum(n for name, n in sizes.items() if name in found) / max(1, sum(sizes.values()))
