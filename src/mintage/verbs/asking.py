"""What a model is asked for: words, files and settings → condition tensors and sampler settings.

A person names classes, captions, beginnings and columns as text; where nobody names a class or a caption, each sample's seed
chooses one of the data's, so that all come equally often. It does not draw; an unknown name is one sentence that lists
the known ones.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mintage.core import registry
from mintage.core.config import parse
from mintage.core.errors import RefusedError, UsageError
from mintage.core.registry import unknown
from mintage.core.spec import COND_NAMES, MASK, Cond
from mintage.core.words import say
from mintage.nn.given import Given
from mintage.verbs.load import Loaded

BLANKS = "_＿□"  # each stands for one token that is not known, to a model that fills in


@dataclass(frozen=True)
class Request:
    """What a person asks of one model: sampler settings, and conditions with their words, a row each, repeated in turn.

    ``whole`` says that each row is to be made once, ``notes`` what of it the model cannot hear, and ``files`` how what is made
    becomes files (the codec's ``outputs``).
    """

    knobs: dict[str, Any]
    cond: dict[str, Tensor]
    words: Sequence[Mapping[str, str]]
    whole: bool = False
    notes: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def told(self) -> dict[str, Any]:
        """What was set, for the story of a sample."""
        return {**self.knobs, **self.files}


def request(loaded: Loaded, given: Mapping[str, str], options: Sequence[str]) -> Request:
    """Read a request.

    Raises:
        UsageError: A setting, condition, class, column or cell that the model does not know.
        RefusedError: Columns are given to a model that cannot hear them.
    """
    (knobs, files), target = read_knobs(loaded, options), loaded.recipe.target
    if not given or not hasattr(loaded.codec, "known"):
        return Request(knobs, conditions(loaded, given, 1), [dict(given)], notes=unread(loaded, given), files=files)
    if target.kind == "grid" and "mask" not in loaded.recipe.cond:
        raise RefusedError(say("{family} makes whole rows; train --family masked to give columns.", family=loaded.recipe.family))
    found = loaded.codec.known(given, target)
    knobs = {**knobs, "forbid": found.forbid} if found.forbid else knobs
    return Request(knobs, found.cond, found.words, found.whole, found.notes, files)


def conditions(loaded: Loaded, given: Mapping[str, str], n: int) -> dict[str, Tensor]:
    """A person's words → condition tensors, one row a sample.

    Raises:
        UsageError: A name or class that the model does not know; the sentence lists what it knows.
    """
    cond: dict[str, Tensor] = {}
    known = [name for name in COND_NAMES if name in loaded.recipe.cond and name in ("class", "caption")]
    if loaded.recipe.target.kind == "tokens":
        known.append("prompt")
    for name, value in given.items():
        if name not in known:
            raise UsageError(
                unknown("--given", name, known)
                if known
                else say("This model was trained without labels or captions, so it takes no --given {name}.", name=name)
            )
        if name == "class":
            names = loaded.recipe.cond["class"].channels
            if value not in names:
                raise UsageError(unknown(say("class"), value, names))
            row = torch.tensor([names.index(value)])
        elif name == "caption":
            row = loaded.codec.encode_caption([value], loaded.recipe.cond["caption"])
        else:
            row = begun(loaded, value)
        cond[name] = row.expand(n, *row.shape[1:])
    return cond


def unread(loaded: Loaded, given: Mapping[str, str]) -> tuple[str, ...]:
    """What a caption asks for in words that the data's captions hardly use."""
    own = getattr(loaded.codec, "given", None)
    strange = own.strange(given["caption"]) if isinstance(own, Given) and "caption" in given else []
    sentence = "Captions of the data hardly ever say {words}, so the model can hardly know what that is."
    return (say(sentence, words=", ".join(strange)),) if strange else ()


def begun(loaded: Loaded, text: str) -> Tensor:
    """A text (or a file) that is to go on, as ids [1, P]; where the model fills blanks, each blank sign is one."""
    if hasattr(loaded.codec, "begun"):
        row: Tensor = loaded.codec.begun(text, getattr(loaded.model, "fills", False))
        return row
    whole = loaded.recipe.target.at(token=0)
    parts = re.split(f"[{BLANKS}]", text) if getattr(loaded.model, "fills", False) else [text]
    rows = [loaded.codec.encode([part], whole)[:, :-1].long() for part in parts]  # without eos
    blank = torch.full((1, 1), MASK)
    return torch.cat([rows[0], *(piece for row in rows[1:] for piece in (blank, row[:, 1:]))], 1)


def name_given(loaded: Loaded, given: Mapping[str, str], prompt: str) -> dict[str, str]:
    """``--prompt`` is short for the text's beginning, or for the caption; a value without a name is a class, or a file of rows."""
    if "" in given and not hasattr(loaded.codec, "known"):
        given = {name or "class": value for name, value in given.items()}
    if not prompt:
        return dict(given)
    if loaded.recipe.target.kind == "tokens":
        return {**given, "prompt": prompt}
    if "caption" in loaded.recipe.cond:
        return {**given, "caption": prompt}
    names = loaded.recipe.cond["class"].channels if "class" in loaded.recipe.cond else ()
    if prompt in names:
        return {**given, "class": prompt}
    hint = say("ask by class instead: {names}.", names=", ".join(names)) if names else say("generate without --prompt.")
    raise RefusedError(say("This model was trained without captions, so --prompt means nothing to it;") + " " + hint)


def default_classes(loaded: Loaded, seeds: Sequence[int]) -> Tensor:
    """Class of each sample when none is asked for: the seed decides, so all classes of the data come equally often. [n]"""
    spec = loaded.recipe.cond["class"]
    ids = [i for low, high in spec.slots or ((0, spec.vocab),) for i in range(low, high)]
    return torch.tensor([ids[seed % len(ids)] for seed in seeds])


def default_captions(loaded: Loaded, seeds: Sequence[int]) -> list[str]:
    """Caption of each sample when nothing is asked for and there are no classes: of the data's own, the seed decides which."""
    cond = loaded.recipe.cond
    examples = cond["caption"].channels if "caption" in cond and "class" not in cond else ()
    return [examples[seed % len(examples)] for seed in seeds] if examples else []


def completed(loaded: Loaded, cond: Cond, seeds: Sequence[int]) -> dict[str, Tensor]:
    """What is asked for, with a class or a caption by each sample's seed where neither is."""
    if "class" in cond or "caption" in cond:
        return dict(cond)
    if "class" in loaded.recipe.cond:
        return {**cond, "class": default_classes(loaded, seeds)}
    captions = default_captions(loaded, seeds)
    return {**cond, "caption": loaded.codec.encode_caption(captions, loaded.recipe.cond["caption"])} if captions else dict(cond)


def asked_words(loaded: Loaded, given: Sequence[Mapping[str, str]], seeds: Sequence[int]) -> list[dict[str, str]]:
    """What each sample was asked for, as words, for its label."""
    rows = [dict(words) for words in given]
    if any("class" in words or "caption" in words for words in given):
        return rows
    if "class" in loaded.recipe.cond:
        names = loaded.recipe.cond["class"].channels
        for row, index in zip(rows, default_classes(loaded, seeds).tolist(), strict=True):
            row["class"] = names[index]
    for row, caption in zip(rows, default_captions(loaded, seeds), strict=False):
        row["caption"] = caption
    return rows


def read_knobs(loaded: Loaded, pairs: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """``-o`` pairs checked against the family's sampler settings (its ``Knobs``); ``stop`` is text, as often as wanted.

    Those that say how what is made becomes files (the codec's ``outputs``) go to the codec, and are handed back beside them.
    """
    own = getattr(loaded.codec, "outputs", ())
    if files := dict(pair.split("=", 1) for pair in pairs if "=" in pair and pair.split("=", 1)[0] in own):
        loaded.codec.configure(files)  # type: ignore[attr-defined]
    pairs = [pair for pair in pairs if pair.split("=", 1)[0] not in own]
    stops = [pair.partition("=")[2] for pair in pairs if pair.startswith("stop=")]
    family = sys.modules[registry.get("families", loaded.recipe.family).__module__]
    kinds = [family.Knobs] if hasattr(family, "Knobs") else []
    if not stops or not any("stop" in kind.__dataclass_fields__ for kind in kinds):
        return parse(pairs, kinds), files
    knobs = parse([pair for pair in pairs if not pair.startswith("stop=")], kinds)
    whole = loaded.recipe.target.at(token=0)
    texts = [stop.replace("\\n", "\n") for stop in stops if stop]
    return {**knobs, "stop": tuple(tuple(loaded.codec.encode([text], whole)[0, 1:-1].tolist()) for text in texts)}, files
