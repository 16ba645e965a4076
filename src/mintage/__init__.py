"""Mintage: from a folder of your own data to a generator you can trust, on your own machine.

``run = mintage.make("photos/", minutes=5)`` runs the whole loop once; ``mintage.load("runs/photos-flow")`` opens a model.
The verbs are imported when first used, so that ``import mintage`` stays instant.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

VERBS = {
    "make": "mintage.verbs.make",
    "inspect": "mintage.verbs.inspect",
    "train": "mintage.verbs.train",
    "generate": "mintage.verbs.generate",
    "evaluate": "mintage.verbs.evaluate",
    "compare": "mintage.verbs.compare",
    "explain": "mintage.verbs.explain",
    "verify": "mintage.verbs.verify",
    "load": "mintage.verbs.load",
}
__all__ = [*VERBS, "__version__"]

if TYPE_CHECKING:
    from mintage.verbs.compare import compare
    from mintage.verbs.evaluate import evaluate
    from mintage.verbs.explain import explain
    from mintage.verbs.generate import generate
    from mintage.verbs.inspect import inspect
    from mintage.verbs.load import load
    from mintage.verbs.make import make
    from mintage.verbs.train import train
    from mintage.verbs.verify import verify


def __getattr__(name: str) -> Any:
    """Import a verb when it is first asked for."""
    if name not in VERBS:
        raise AttributeError(f"module 'mintage' has no attribute '{name}'")
    return getattr(importlib.import_module(VERBS[name]), name)
