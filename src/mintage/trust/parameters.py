"""Writes into each file how it was made, for people and for programs.

``parameters`` is the line that picture tools know (prompt, then ``Steps: …, Seed: …, Model: …``); ``mintage`` is JSON
with the same, the content's hash, how many frames it has, and where in the file the unlabelled content lies; where the encoder
loses something, also the hash of what the file shows or plays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mintage.core.spec import Media, Sample
from mintage.core.store import content_hash
from mintage.nn import footage, recordings
from mintage.trust import carriers
from mintage.trust.gate import Gate as Base
from mintage.trust.label import TABLES, box, name_of


def described(sample: Sample | None, run: Mapping[str, Any]) -> dict[str, Any]:
    """Everything needed to make the thing again."""
    recipe = run.get("recipe", {})
    made = {key: recipe[key] for key in ("family", "task", "modality") if key in recipe}
    made |= {key: run[key] for key in ("model_hash", "knobs") if run.get(key)}
    made |= {"name": name_of(run), "mintage": run.get("mintage", "")}
    media: Media | None = sample.media if sample else run.get("sheet")
    if sample is None:
        made["sheet"] = True
    else:
        made |= {"seed": sample.seed, "content": sample.content_hash, "given": dict(sample.given)}
    if media is None:
        return made
    made.setdefault("content", content_hash(media.content))
    if media.mime.startswith(("image/", "video/")):
        shape = media.content.shape
        height, width = shape[1:3] if len(shape) == 4 else shape[:2]
        made["box"] = box(width, height)
        made |= {"frames": shape[0]} if len(shape) == 4 else {}
    if media.mime.startswith("audio/L16"):
        made["span"] = [len(media.content), recordings.rate_of(media)]
    return made


def line(made: Mapping[str, Any]) -> str:
    """The same for a person."""
    given = made.get("given", {})
    words = given.get("prompt") or given.get("caption") or given.get("class") or ""
    pairs = {"Seed": made.get("seed"), **{str(k).capitalize(): v for k, v in made.get("knobs", {}).items()}}
    if "box" in made:
        pairs["Size"] = f"{made['box'][2]}x{made['box'][3]}"
    pairs |= {"Model": made.get("name"), "Model hash": made.get("model_hash"), "Sampler": made.get("family")}
    pairs["Version"] = f"mintage {made['mintage']}".strip()
    return f"{words}\n".lstrip("\n") + ", ".join(f"{key}: {value}" for key, value in pairs.items() if value not in (None, ""))


class Gate(Base):
    """Generation parameters, in the file or beside it."""

    def file(self, path: Path, sample: Sample | None, run: Mapping[str, Any]) -> None:
        """Write both entries."""
        made = described(sample, run)
        if path.suffix in TABLES:  # one file holds all rows, and is the content
            made |= {"sheet": False, "content": content_hash(path.read_bytes())}
        if "content" in made and path.suffix in footage.LOSSY:
            made["shown"] = footage.digest(path)
        if sample is not None and path.suffix in recordings.LOSSY:
            made["shown"] = recordings.digest(path)
        carriers.write(path, {"parameters": line(made), "mintage": json.dumps(made, default=str)})
