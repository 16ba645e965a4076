"""doctor: what this machine is, what is fast on it, and which optional parts are there."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mintage
from mintage.core.machine import measure
from mintage.core.words import say
from mintage.verbs.inspect import cache_folder

EXTRAS = {"tensorboard": "track"}


@dataclass(frozen=True)
class Check:
    """One line of the doctor."""

    name: str
    value: Any
    note: str = ""

    def __str__(self) -> str:
        return f"{self.name:<12} {self.value}{'  ' + self.note if self.note else ''}"


def doctor() -> list[Check]:
    """Measure and look; takes about a second."""
    machine = measure()
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    fast = say(
        "bfloat16 is {ratio} x as fast as float32 here and will be used.",
        ratio=round(machine.speed / machine.speed32, 1),
    )
    checks = [
        Check("mintage", mintage.__version__),
        Check("torch", version("torch")),
        Check("machine", machine.name),
        Check("cores", machine.cores),
        Check("memory_gb", round(machine.memory / 1e9, 1)),
        Check("device", machine.device),
        Check(
            "gflops",
            round(machine.speed),
            fast if machine.dtype == "bfloat16" else say("float32 is the faster type here."),
        ),
        Check("disk_gb", round(free, 1), say("Less than 1 GB is little.") if free < 1 else ""),
        Check("cache", str(cache_folder())),
    ]
    for name, extra in EXTRAS.items():
        there = importlib.util.find_spec(name) is not None
        checks.append(Check(name, there, "" if there else say("pip install mintage[{extra}] adds it.", extra=extra)))
    return checks
