"""The model card: README.md of a model folder, in the hub's layout, in both languages.

It says what the model was made from (counts, never values), how, what it may not be used for, and that whatever it
makes is made by AI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mintage.core import registry
from mintage.core.words import LANGUAGES, say


def _title(card: Mapping[str, Any]) -> str:
    """The family, or those of both stages."""
    first = card["recipe"].get("first")
    return f"{first['family']}+{card['recipe']['family']}" if first else str(card["recipe"]["family"])


def _front_matter(card: Mapping[str, Any]) -> str:
    recipe = card["recipe"]
    tags = ["mintage", *_title(card).split("+"), recipe["modality"], "ai-generated"]
    lines = [
        "---",
        "library_name: mintage",
        f"pipeline_tag: {getattr(registry.get('modalities', recipe['modality']), 'pipeline', 'other')}",
        "license: other",
        "tags:",
    ]
    return "\n".join([*lines, *(f"- {tag}" for tag in tags), "---"])


def alarms(card: Mapping[str, Any], lang: str = "") -> list[str]:
    """What started the training again, one sentence each."""
    return [
        say(
            "An alarm at step {step} ({reason}) started the training again with {change}.",
            lang,
            step=row["step"],
            reason=row["reason"],
            change=", ".join(f"{key}={value}" for key, value in row["change"].items()),
        )
        for row in card.get("alarms", ())
    ]


def _facts(card: Mapping[str, Any], lang: str) -> list[str]:
    recipe, data = card["recipe"], card.get("data", {})
    size = "×".join(str(n) for n in recipe["target"]["shape"])
    return [
        say(
            "A {family} model of {modality}, example size {size}.",
            lang,
            family=_title(card),
            modality=recipe["modality"],
            size=size,
        ),
        say(
            "Trained on {n} items of a private folder ({held} more held out), {minutes} minutes, {steps} steps, seed {seed}.",
            lang,
            n=data.get("train", "?"),
            held=data.get("held_out", "?"),
            minutes=round(card.get("minutes", 0), 2),
            steps=card.get("steps", "?"),
            seed=recipe["seed"],
        ),
        *([say("It started from the weights of {name}.", lang, name=recipe["parent"])] if recipe.get("parent") else []),
        *(
            say(
                "Two stages: {first} ({minutes} of the minutes, {steps} steps) makes codes, and {last} models them; "
                "the weights of both are in this folder.",
                lang,
                first=stage["family"],
                minutes=round(stage["minutes"], 2),
                steps=stage["steps"],
                last=recipe["family"],
            )
            for stage in (card.get("first"),)
            if stage
        ),
        *alarms(card, lang),
        say(
            "Source, licence and consent of the items are as their owner stated them; nothing was checked against third parties.",
            lang,
        ),
        say(
            "Everything it makes is made by AI and is labelled so. Not for decisions in medicine, law, finance or science.",
            lang,
        ),
        say("Weights can hold traces of training data: read the report's “its own” line before sharing.", lang),
    ]


def model_card(card: Mapping[str, Any]) -> str:
    """Markdown of the card."""
    title = f"# {_title(card)} · {card['recipe']['modality']}"
    parts = [_front_matter(card), "", title, ""]
    for lang in LANGUAGES:
        parts += [f"- {line}" for line in _facts(card, lang)] + [""]
    usage = '```python\nimport mintage\n\nmodel = mintage.load("path/to/this/folder")\nmodel.generate(n=16, seed=7)\n```\n'
    return "\n".join([*parts, usage])
