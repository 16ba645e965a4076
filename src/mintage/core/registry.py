"""Plug-ins by folder and file name: ``get("families", "flow")`` imports one file and returns its class.

Descriptions come from the first docstring line, read without importing. More folders can be named in
``MINTAGE_PLUGINS`` (each holding ``families/``, ``modalities/`` … like this package) or installed under the entry point
group ``mintage.plugins``; a file there joins its axis with no other file changed.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from mintage.core.errors import PluginError, UsageError
from mintage.core.words import say

CLASSES = {"modalities": "Codec", "families": "Model", "tasks": "Task", "metrics": "Metric"}


def _folders(axis: str) -> list[Path]:
    roots = [Path(__file__).parent.parent]
    roots += [Path(root) for root in os.environ.get("MINTAGE_PLUGINS", "").split(os.pathsep) if root]
    roots += [Path(str(point.load().__path__[0])) for point in entry_points(group="mintage.plugins")]
    return [root / axis for root in roots]


def files(axis: str) -> dict[str, Path]:
    """Plug-in name → file, in alphabetical order."""
    found = [path for folder in _folders(axis) for path in folder.glob("*.py") if not path.name.startswith("_")]
    return {path.stem: path for path in sorted(found, key=lambda path: path.stem)}


def names(axis: str) -> list[str]:
    """Names of the plug-ins of an axis."""
    return list(files(axis))


def describe(axis: str, name: str) -> str:
    """First line of the plug-in's docstring, without importing it."""
    try:
        doc = ast.get_docstring(ast.parse(files(axis)[name].read_text(encoding="utf-8")))
    except (SyntaxError, ValueError) as error:
        return say("cannot be loaded ({error})", error=error)
    return (doc or "").strip().split("\n")[0]


@cache
def module(axis: str, name: str, path: Path) -> ModuleType:
    """The imported plug-in file."""
    if path.parent == Path(__file__).parent.parent / axis:
        return importlib.import_module(f"mintage.{axis}.{name}")
    full = f"mintage_plugins.{axis}.{name}"
    spec = importlib.util.spec_from_file_location(full, path)
    if spec is None or spec.loader is None:
        raise UsageError(say("The plug-in {path} is not a Python file.", path=path))
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[full] = loaded
    try:
        spec.loader.exec_module(loaded)
    except Exception as error:  # a person's own file may raise anything
        del sys.modules[full]
        why = f"{type(error).__name__}: {error}"
        raise PluginError(
            say("The plug-in {path} cannot be loaded ({error}); mend it or take it away.", path=path, error=why)
        ) from error
    return loaded


def get(axis: str, name: str, part: str = "") -> Any:
    """The class of a plug-in (or another public name of its file, such as ``Config``).

    Raises:
        UsageError: No such plug-in; the sentence names the nearest and all valid ones.
    """
    known = files(axis)
    if name not in known:
        raise UsageError(unknown(say(SINGULAR[axis]), name, known))
    return getattr(module(axis, name, known[name]), part or CLASSES[axis])


SINGULAR = {"modalities": "modality", "families": "family", "tasks": "task", "metrics": "metric"}


def unknown(kind: str, name: str, valid: Iterable[str]) -> str:
    """One sentence for a misspelt name, with the nearest valid one."""
    valid = list(valid)
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    hint = say(" Did you mean {near}?", near=near[0]) if near else ""
    return say("There is no {kind} called {name}; choose from {valid}.", kind=kind, name=name, valid=", ".join(valid)) + hint
