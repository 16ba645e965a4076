"""What Mintage assumes about a person's data, each guess with its reason and the option that overrides it.

Folders or file stems named after splits are splits, other subfolders classes.
Pictures take captions from a text of the same stem or from ``metadata.jsonl``/``metadata.csv``, where keywords beside a
caption join it. A field with few, repeating values is a class for texts, and offered as one for pictures.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.cells import cell_len

from mintage.core import registry
from mintage.core.errors import BadItem, DataError, UsageError
from mintage.core.protocols import Codec
from mintage.core.spec import Item, Ruling
from mintage.core.words import say
from mintage.nn.reading import read_text
from mintage.verbs.shelf import Contents, Place
from mintage.verbs.sources import SPLITS, Source, split_of

CAPTIONS = ("text", "caption", "description", "prompt", "title")  # fields that may hold a caption, in this order
KEYWORDS = ("tags", "keywords")  # fields whose words go with a caption
TABLES = ("metadata.jsonl", "metadata.csv", "captions.jsonl", "captions.csv", "metadata.tsv", "captions.tsv")
TEXTS = (".txt", ".caption")
MOST_CLASSES, FEWEST = 100, 5  # of a field that serves as class: at most so many values, so many items each
NAMED = re.compile(r"name([2-9])?")


@dataclass(frozen=True)
class Guess:
    """One assumption."""

    name: str
    value: str
    why: str
    override: str = ""

    def __str__(self) -> str:
        note = say("say otherwise with {override}", override=self.override) if self.override else ""
        return f"{self.value}  ({self.why}{'; ' if note else ''}{note})"


def listed(guesses: Sequence[Guess]) -> list[str]:
    """The table as lines of text, values under each other (a wide character takes two places)."""
    wide = max((cell_len(guess.name) for guess in guesses), default=0)
    return [f"{guess.name}{' ' * (wide - cell_len(guess.name))}  {guess}" for guess in guesses]


@dataclass
class Sidecars:
    """Files that describe other files."""

    captions: dict[Path, str] = field(default_factory=dict)
    fields: dict[Path, dict[str, str]] = field(default_factory=dict)
    used: set[Path] = field(default_factory=set)


def sidecars(source: Source, files: Sequence[Path], options: Mapping[str, str]) -> Sidecars:
    """Captions and fields of pictures, sounds or clips, from the files beside them."""
    found = Sidecars()
    pictures = {p.with_suffix(""): p for p in files if p.suffix.lower() not in TEXTS and p.name.lower() not in TABLES}
    by_place = {path.resolve(): path for path in pictures.values()}
    for path in files:
        if path.name.lower() in TABLES:
            found.used.add(path)
            try:
                rows = records(path)
            except (BadItem, DataError, ValueError, RecursionError, csv.Error, OSError) as error:
                source.refuse(path, "broken", say("it cannot be read as a table ({error})", error=error))
                continue
            for row in rows:
                name = row.get("file_name") or row.get("file") or row.get("image") or ""
                target = by_place.get((path.parent / name).resolve()) if name and "\0" not in name else None
                if target:
                    found.fields.setdefault(target, {}).update(row)
        elif path.suffix.lower() in TEXTS and path.with_suffix("") in pictures:
            found.used.add(path)
            try:
                found.captions[pictures[path.with_suffix("")]] = read_text(path.read_bytes()).strip()
            except (BadItem, OSError) as error:
                source.refuse(path, "broken", say("it is no caption ({reason})", reason=error))
    wanted = options.get("caption", "")
    for target, row in found.fields.items():
        text = row.get(wanted, "") if wanted else _with_keywords(next((row[key] for key in CAPTIONS if row.get(key)), ""), row)
        if text:
            found.captions.setdefault(target, text)
    if wanted == "none":
        found.captions.clear()
    return found


def _with_keywords(text: str, row: Mapping[str, str]) -> str:
    """A caption and those keywords beside it that it does not say."""
    for key in KEYWORDS if text else ():
        for word in filter(None, map(str.strip, row.get(key, "").split(","))):
            if not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE):
                text += f", {word}"
    return text


def records(path: Path) -> list[dict[str, str]]:
    """Rows of a JSON-lines, CSV or TSV file; lists of keywords become one text, other fields that are none are left out."""
    text = read_text(path.read_bytes())
    if path.suffix.lower() == ".jsonl":
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
        return [{k: said for k, v in row.items() if (said := _text(k, v)) is not None} for row in rows if isinstance(row, dict)]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(text)
    table = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    return [{k: v for k, v in row.items() if k and isinstance(v, str)} for row in table]


def _text(key: str, value: object) -> str | None:
    """A text, or a list of keywords as one; else nothing."""
    if key in KEYWORDS and isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    return value if isinstance(value, str) else None


def _delimiter(text: str) -> str:
    head = text.split("\n", 1)[0]
    return max(",;\t|", key=head.count)


def label(items: Sequence[Item], source: Source, side: Sidecars, options: Mapping[str, str], named: bool = False) -> list[Item]:
    """Items with the splits, classes and captions that their surroundings suggest; ``named`` files begin with their class."""
    parts = {path: _parts(path, source) for path in {item.path: None for item in items}}
    levels = _split_levels(set(parts.values()))
    stems = stem_splits(list(parts))
    around: dict[Path, tuple[str, str]] = {}  # path → split, class
    for path, folders in parts.items():
        splits = [SPLITS[part.lower()] for i, part in enumerate(folders) if folders[: i + 1] in levels]
        words = [part for i, part in enumerate(folders) if folders[: i + 1] not in levels]
        around[path] = (splits[0] if splits else stems.get(path, ""), words[-1] if words else "")
    out = []
    for item in items:
        given = {**side.fields.get(item.path, {}), **item.given} if item.path in side.fields else item.given
        if item.path in side.captions:
            given = {**given, "caption": side.captions[item.path]}
        split = SPLITS.get(item.split.lower(), item.split) or around[item.path][0]
        changed = split != item.split or given is not item.given
        out.append(replace(item, split=split, given=given) if changed else item)
    return _classes(out, {path: word for path, (_, word) in around.items() if word}, options, named)


def _parts(path: Path, source: Source) -> tuple[str, ...]:
    return path.relative_to(source.root).parts[:-1] if path.is_relative_to(source.root) else ()


def stem_splits(paths: Sequence[Path]) -> dict[Path, str]:
    """Splits by the stems of a few files, where there is a train and another one."""
    found = {path: split_of(path.stem) for path in paths}
    return found if len(paths) <= 50 and {"train"} < set(found.values()) - {""} else {}


def _split_levels(folders: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Folders that are splits: at their level all are, or there is a train and another one."""
    children: dict[tuple[str, ...], set[str]] = {}
    for parts in folders:
        for i, part in enumerate(parts):
            children.setdefault(parts[:i], set()).add(part)
    found = set()
    for parent, names in children.items():
        splits = {name: SPLITS.get(name.lower(), "") for name in names}
        if all(splits.values()) or {"train"} < set(splits.values()) - {""}:
            found |= {(*parent, name) for name, split in splits.items() if split}
    return found


def _classes(items: list[Item], folders: Mapping[Path, str], options: Mapping[str, str], named: bool) -> list[Item]:
    """Put ``class`` where it was asked for, else where folders or (without captions) a repeating field give it."""
    wanted = options.get("class", "")
    fields = repeating(items)
    if wanted == "none":
        return [replace(item, given={k: v for k, v in item.given.items() if k != "class"}) for item in items]
    if NAMED.fullmatch(wanted):
        return [_with(item, word_of(item.path, wanted)) for item in items]
    if wanted and wanted != "folder":
        if not any(wanted in item.given for item in items):
            raise UsageError(registry.unknown("-o class=", wanted, [*fields, "folder", "name", "none"]))
        return [_with(item, item.given.get(wanted, "")) for item in items]
    names = set(folders.values())
    if wanted == "folder" or (len(names) >= 2 and len(items) >= 2 * len(names)):
        return [_with(item, folders.get(item.path, "")) for item in items]
    if fields and not any("class" in item.given or "caption" in item.given for item in items):
        return [_with(item, item.given.get(fields[0], "")) for item in items]
    if named and "name" in in_names(items) and not any("class" in item.given or "caption" in item.given for item in items):
        return [_with(item, first_word(item.path)) for item in items]
    return items


def _with(item: Item, name: str) -> Item:
    return replace(item, given={**item.given, "class": name}) if name and "class" not in item.given else item


def repeating(items: Sequence[Item]) -> list[str]:
    """Fields of nearly all items that have few, repeating values; the fewest first."""
    names = Counter(key for item in items for key in item.given if key[0] != "_")  # what a codec notes for itself
    found = []
    for key, n in names.items():
        distinct = len({item.given.get(key) for item in items})
        if key not in ("class", "caption") and n >= 0.95 * len(items) and 2 <= distinct <= min(MOST_CLASSES, n // FEWEST):
            found.append((distinct, key))
    return [key for _, key in sorted(found)]


def first_word(path: Path) -> str:
    """The letters that a file name begins with, or the number that a sign parts from the rest."""
    match = re.match(r"[^\W\d_]+|\d+(?=[\W_])", path.stem)
    return match.group() if match else ""


def word_of(path: Path, name: str) -> str:
    """What ``-o class=`` takes from a file's name: ``name`` is its beginning, ``name2`` the second of its words."""
    if name == "name":
        return first_word(path)
    words = re.split(r"[\W_]+", path.stem)
    return words[int(name[4:]) - 1] if int(name[4:]) <= len(words) else ""


def in_names(items: Sequence[Item]) -> list[str]:
    """Words of all file names that repeat as classes do: ``name``, ``name2``, …"""
    paths = {item.path for item in items}
    most = min((len(re.split(r"[\W_]+", path.stem)) for path in paths), default=0)
    found = []
    for name in ("name", *(f"name{k}" for k in range(2, most + 1))):
        words = {word_of(path, name) for path in paths}
        if "" not in words and 2 <= len(words) <= min(MOST_CLASSES, len(paths) // FEWEST):
            found.append(name)
    return found


def shapes(contents: Contents) -> dict[tuple[int, ...], int]:
    """How many contents of each shape; texts have none."""
    return dict(Counter(place.shape or () for place in contents.places if isinstance(place, Place)))


def table(medium: Guess, codec: Codec, items: Sequence[Item], contents: Contents) -> tuple[tuple[str, ...], tuple[Guess, ...]]:
    """Classes, and all guesses in one table; the codec adds what it takes its contents for."""
    counts = Counter(item.given["class"] for item in items if item.given.get("class"))
    classes = tuple(sorted(counts))
    learned = Contents(contents.memories, [contents.places[i] for i, item in enumerate(items) if item.split == "train"])
    guesses = [medium]  # from what the codec will be fitted on
    guesses += [Guess(*row) for row in codec.guesses(learned)] if hasattr(codec, "guesses") else []
    if classes:
        shown = ", ".join(classes[:5]) + (" …" if len(classes) > 5 else "")
        guesses.append(Guess(say("classes"), shown, say("folders or a field with repeating values"), "-o class="))
    captions = sum("caption" in item.given for item in items)
    if captions:
        why = say("texts beside the pictures, or their metadata")
        guesses.append(Guess(say("captions"), str(captions), why, "-o caption="))
    taken = [item.given.get("class") for item in items]
    offered = [key for key in repeating(items) if [item.given.get(key) for item in items] != taken]
    if len({item.path for item in items}) > 1:
        offered += [name for name in in_names(items) if [word_of(item.path, name) for item in items] != taken]
    if offered:
        why = say("their values repeat; not used")
        guesses.append(Guess(say("could be classes"), ", ".join(offered), why, f"-o class={offered[0]}"))
    parts = Counter(item.split for item in items)
    text = ", ".join(f"{part} {parts[part]}" for part in ("train", "holdout", "test"))
    guesses.append(Guess(say("splits"), text, say("names given, else 80/10/10 by content"), ""))
    return classes, tuple(guesses)


NOTES = {
    "transparent": "{n} had transparency and were laid over white.",
    "rotated": "{n} were turned upright as their camera says.",
    "animated": "{n} were animated; the first frame was taken.",
    "deep": "{n} had more than 8 bits and were reduced.",
    "long": "{n} come from longer files, of which only the beginning was read.",
    "brief": "{n} are shorter than a window and run back and forth.",
    "cmyk": "{n} were made for print (CMYK) and became RGB.",
}
KINDS = {
    "broken": "{n} broken ({first}: {why})",
    "duplicate": "{n} exact copies ({first} is {why})",
    "near": "{n} near-copies ({first} is {why})",
    "medium": "{n} of another medium ({first})",
    "aside": "{n} set aside ({first}: {why})",
    "border": "{n} left out between the splits ({first}: {why})",
}


def summary(
    data: str, good: int, refused: Sequence[tuple[Item, Ruling]], notes: Mapping[str, int], classes: Sequence[str]
) -> tuple[str, ...]:
    """A few sentences for a person; the full list is the manifest's."""
    lines = [say("{data}: {n} found, {good} good.", data=data, n=good + len(refused), good=good)]
    for kind, sentence in KINDS.items():
        of_kind = [(item, ruling) for item, ruling in refused if ruling.kind == kind]
        if of_kind:
            item, ruling = of_kind[0]
            lines.append(say(sentence, n=len(of_kind), first=item.path.name, why=ruling.reason) + ".")
    lines += [say(sentence, n=notes[note]) for note, sentence in NOTES.items() if notes.get(note)]
    if classes:
        lines.append(say("{n} classes.", n=len(classes)))
    return tuple(lines)
