"""Which medium a person's data is of, which of its files belong to it, and what the others could become.

Every codec counts the files that it reads; captions beside a picture, a sound or a clip count for nothing. The medium of
most files is taken and the other files are set aside. Where none has half of them, looking is allowed but training is
not: the person chooses with ``-o modality=``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mintage.core import registry
from mintage.core.errors import UsageError
from mintage.core.words import say
from mintage.verbs.guesses import TABLES, Guess, stem_splits
from mintage.verbs.sources import Source


@dataclass(frozen=True)
class Medium:
    """The medium that was taken.

    Attributes:
        name: Of its codec.
        files: Its files, and those that describe them.
        counts: Files (of an array file: items) of every medium that there is, the most first.
        asked: Whether a person named it.
    """

    name: str
    files: tuple[Path, ...]
    counts: Mapping[str, int]
    asked: bool

    @property
    def clear(self) -> bool:
        """Whether it is named, alone, or more than half of everything."""
        return self.asked or 2 * self.counts.get(self.name, 0) > sum(self.counts.values()) or len(self.counts) < 2

    @property
    def mix(self) -> str:
        """What is there, for a person: ``30 image, 12 sound``."""
        return ", ".join(f"{n} {name}" for name, n in self.counts.items())

    @property
    def guess(self) -> Guess:
        """The row of the table of guesses."""
        others = [f"{name} ({n}, {default_family(registry.get('modalities', name))})" for name, n in self.counts.items()]
        if self.asked:
            return Guess(say("medium"), self.name, say("as asked"), "-o modality=")
        if len(others) < 2:
            return Guess(say("medium"), self.name, say("most files are of this kind"), "-o modality=")
        why = say("there could be made {others}", others=", ".join(others))
        return Guess(say("medium"), self.name, why, "-o modality=" + "|".join(self.counts))


def default_family(codec: Any) -> str:
    """The family that a medium is modelled by if nobody says otherwise."""
    return str(getattr(codec, "family", "flow"))


def medium(source: Source, options: Mapping[str, str]) -> Medium:
    """The medium of most files, or the one asked for; what belongs to another is set aside.

    Raises:
        UsageError: No such medium, or there is nothing of it here.
    """
    codecs = {name: registry.get("modalities", name) for name in registry.names("modalities")}
    wanted = options.get("modality", "")
    if wanted and wanted not in codecs:
        raise UsageError(registry.unknown(say("modality"), wanted, codecs))
    if hasattr(codecs.get(wanted), "gather"):
        source.files = codecs[wanted].gather(source.files)
    reads = {name: _reads(codec, source.files, name == wanted) for name, codec in codecs.items()}
    captioned = {name for name, codec in codecs.items() if getattr(codec, "captioned", False)}
    counts = _counts(codecs, reads, captioned, source)
    if wanted != "text" and wanted and counts and not counts.get(wanted):
        there = ", ".join(f"{n} {name}" for name, n in counts.items())
        raise UsageError(say("-o modality={name}: nothing here is of that medium; there are {mix}.", name=wanted, mix=there))
    if source.plain or (len(source.files) == 1 and not counts):
        counts["text"], reads["text"] = len(source.files), list(source.files)  # named outright: try to read it as text
    sizes = {name: sum(path.stat().st_size for path in files) for name, files in reads.items()}
    name = wanted or max(reads, key=lambda key: (counts.get(key, 0), sizes[key]))
    chosen = _take(source, name, reads, captioned, hasattr(codecs[name], "adopt"))
    return Medium(name, tuple(path for path in source.files if path in chosen), counts, bool(wanted))


def _reads(codec: Any, files: Sequence[Path], outright: bool) -> list[Path]:
    """The files that a codec takes: by their suffix and, unless it was named outright, by a look into what others read too."""
    mine = [path for path in files if path.suffix.lower() in codec.suffixes or (outright and path.is_dir())]
    return mine if outright or not hasattr(codec, "claims") else [path for path in mine if codec.claims(path)]


def _counts(codecs: Mapping[str, Any], reads: Mapping[str, Sequence[Path]], captioned: set[str], source: Source) -> dict[str, int]:
    """How much there is of every medium, the most first; texts beside a picture of the same stem are its captions."""
    stems = {path.with_suffix("") for name in captioned for path in reads[name]}
    own = {name: len([p for p in files if name in captioned or p.with_suffix("") not in stems]) for name, files in reads.items()}
    for name, codec in codecs.items():
        own[name] += sum(len(rows.values) for rows in source.rows) if hasattr(codec, "adopt") else 0
    return dict(sorted(((name, n) for name, n in own.items() if n), key=lambda pair: -pair[1]))


def _take(source: Source, name: str, reads: Mapping[str, Sequence[Path]], captioned: set[str], adopts: bool) -> set[Path]:
    """The files of the medium and those beside them; all others are set aside with a reason."""
    chosen = set(reads[name])
    beside = {path.with_suffix("") for path in chosen} if name in captioned else set()
    side = {path for path in source.files if name in captioned and (path.with_suffix("") in beside or path.name.lower() in TABLES)}
    owner = {path: medium for medium, paths in reads.items() for path in paths}
    for path in source.files:
        if path in chosen or path in side:
            continue
        if path in owner:
            source.refuse(path, "medium", say("of another medium ({own}); {taken} was taken", own=owner[path], taken=name))
        else:
            source.refuse(path, "aside", say("files of the kind {suffix} are not read", suffix=path.suffix or path.name))
    for rows in source.rows if not adopts else ():
        source.refuse(rows.path, "medium", say("of another medium ({own}); {taken} was taken", own=say("an array"), taken=name))
    splits = stem_splits(sorted(chosen)) if name not in captioned else {}
    for path in sorted(chosen):
        if splits and not splits[path]:
            source.refuse(path, "aside", say("other files are named train and test, and this one belongs to neither"))
            chosen.remove(path)
    return chosen | side
