"""Runs on disk: crash-safe files, checkpoints named by their own hash, append-only journals, content hashes.

Every write is temp file → fsync → rename → fsync of the folder, so that a reader sees the old file or the new one and
never a half. A checkpoint carries the SHA-256 of its bytes in its name: a truncated or flipped one is recognised and
the one before it is used. Weights are safetensors, everything else JSON; nothing here can execute. It does not know
what a tensor means.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mintage.core.errors import StoreError, UsageError
from mintage.core.words import say

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

CHECKPOINT = re.compile(r"step_(\d{8})-([0-9a-f]{16})\.safetensors$")
KEEP = 3  # newest checkpoints kept beside step 0, best and trunk


def content_hash(array: np.ndarray | bytes | str) -> str:
    """SHA-256 of decoded content (pixels, text, rows), independent of labels and file format."""
    if isinstance(array, str):
        array = array.encode()
    if isinstance(array, bytes):
        return hashlib.sha256(array).hexdigest()
    head = f"{array.dtype}{array.shape}".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal into one sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(
            say(
                "{path} could not be written: {reason}. Free some space or choose another --runs folder; "
                "what was saved before is intact.",
                path=path,
                reason=reason,
            )
        ) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Replace ``path`` with ``data``, or leave it as it was."""
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temp, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temp, path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError:
            with suppress(OSError):
                temp.unlink()
            raise


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file."""
    write_bytes(path, _encoded(json.dumps(value, ensure_ascii=False, indent=1) + "\n"))


def _encoded(text: str) -> bytes:
    """JSON text as UTF-8; the half characters of a file name that is no UTF-8 become JSON's own escapes."""
    return text.encode("utf-8", "backslashreplace")


def read_json(path: Path, *keys: str) -> Any:
    """Read a JSON object that has ``keys``; a damaged or missing one is a StoreError that names the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict) or not value.keys() >= set(keys):
            raise ValueError(say("what it should hold is not there"))
        return value
    except FileNotFoundError as error:
        raise StoreError(say("{path} is missing: this is not a complete run or model folder.", path=path)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(
            say("{path} is damaged ({reason}); restore it from a copy or train again.", path=path, reason=error)
        ) from error


def append_json(path: Path, row: Mapping[str, Any], durable: bool = False) -> None:
    """Add one line to a ``.jsonl`` file, never to a torn one; ``durable`` waits until it is on the disk."""
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"
                file.write(b"\n" * torn)
            file.write(_encoded(json.dumps(row, ensure_ascii=False) + "\n"))
            if durable:
                file.flush()
                os.fsync(file.fileno())


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace a ``.jsonl`` file."""
    write_bytes(path, _encoded("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """All complete lines; a torn last line (power cut) is left out."""
    rows = []
    for line in path.read_bytes().split(b"\n") if path.exists() else []:
        with suppress(ValueError):  # a UnicodeDecodeError is one too
            rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file atomically. One metadata key at most: the order of several is random, and so would be the bytes."""
    from safetensors.torch import save

    write_bytes(path, save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, dict(metadata or {})))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; a damaged one is a StoreError that names it."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(path.read_bytes())
    except FileNotFoundError as error:
        raise StoreError(say("{path} is missing: this is not a complete run or model folder.", path=path)) from error
    except (OSError, SafetensorError) as error:
        raise StoreError(
            say("{path} is damaged ({reason}); restore it from a copy or train again.", path=path, reason=error)
        ) from error


@dataclass(frozen=True)
class Checkpoint:
    """A full training state that was found whole."""

    step: int
    path: Path
    tensors: Mapping[str, Tensor]
    skipped: tuple[Path, ...] = ()


class Run:
    """One run's folder and the names inside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.json"
        self.journal = path / "journal.jsonl"
        self.manifest = path / "manifest.jsonl"
        self.events = path / "events.jsonl"
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        self.live = path / "live"
        self.index = path / "index"
        self.model = path / "model"
        self.report = path / "report"
        self.outputs = path / "outputs"

    def listed(self) -> list[tuple[int, Path]]:
        """Checkpoints by step."""
        found = [(CHECKPOINT.search(p.name), p) for p in self.checkpoints.glob("step_*.safetensors")]
        return sorted((int(m[1]), p) for m, p in found if m)

    def save_checkpoint(self, step: int, tensors: Mapping[str, Tensor], keep: str = "") -> Path:
        """Write a full state; ``keep`` ("step0", "trunk", "best") protects it from thinning under that name."""
        from safetensors.torch import save

        data = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"step": str(step)})
        path = self.checkpoints / f"step_{step:08d}-{hashlib.sha256(data).hexdigest()[:16]}.safetensors"
        if keep:  # first: a kill between the two must not leave a state whose name nobody knows
            write_json(self.checkpoints / f"{keep}.json", {"step": step, "file": path.name})
        write_bytes(path, data)
        self._thin()
        return path

    def kept(self, name: str) -> Path | None:
        """The checkpoint protected under a name."""
        note = self.checkpoints / f"{name}.json"
        path = self.checkpoints / read_json(note, "file")["file"] if note.exists() else None
        return path if path and path.exists() else None

    def _thin(self) -> None:
        protected = {read_json(note, "file")["file"] for note in self.checkpoints.glob("*.json")}
        for _, path in self.listed()[:-KEEP]:
            if path.name not in protected:
                with suppress(OSError):
                    path.unlink()

    def newest_checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint whose bytes match its name; damaged newer ones are reported in ``skipped``."""
        skipped: list[Path] = []
        for step, path in reversed(self.listed()):
            state = self.open_checkpoint(path)
            if state is not None:
                return Checkpoint(step, path, state, tuple(skipped))
            skipped.append(path)
        return None

    def open_checkpoint(self, path: Path) -> dict[str, Tensor] | None:
        """The tensors of a checkpoint, or None if its bytes do not match its name."""
        from safetensors.torch import load

        match = CHECKPOINT.search(path.name)
        data = path.read_bytes()
        whole = match is not None and hashlib.sha256(data).hexdigest()[:16] == match[2]
        return load(data) if whole else None

    def drop_checkpoints_after(self, step: int) -> None:
        """Remove states later than ``step`` (a run that goes on from its trunk)."""
        for found, path in self.listed():
            if found > step:
                path.unlink()


def replace_folder(new: Path, old: Path) -> None:
    """Put a finished temporary folder in the place of ``old``."""
    aside = old.with_name(f".{old.name}.{os.getpid()}.old")
    with _explained(old):
        if old.exists():
            os.replace(old, aside)
        os.replace(new, old)
        for left in (aside, *old.parent.glob(f".{old.name}.*.old")):  # also those of a process that was killed here
            shutil.rmtree(left, ignore_errors=True)


def runs_folder(given: str = "") -> Path:
    """Where runs live: --runs, else MINTAGE_RUNS, else ``runs`` here."""
    return Path(given or os.environ.get("MINTAGE_RUNS", "") or "runs")


def find_run(model: str, runs: str = "") -> Run:
    """A run by folder or by name under the runs folder.

    Raises:
        UsageError: Neither exists; the sentence lists what does.
    """
    for path in (Path(model), runs_folder(runs) / model):
        if path.name == "model" and (path.parent / "recipe.json").exists():
            return Run(path.parent)  # where the index is that recognises copies
        if (path / "recipe.json").exists() or (path / "model").is_dir():
            return Run(path)
        if (path / "card.json").exists():  # a bare model folder
            return Run(path)
    present = sorted(p.parent.name for p in runs_folder(runs).glob("*/recipe.json"))
    there = say("There are: {names}.", names=", ".join(present)) if present else say("Train one with: mintage make DATA.")
    raise UsageError(say("There is no model called {model} in {runs}.", model=model, runs=runs_folder(runs)) + " " + there)
