"""Tables: one row is one item; numbers, categories, dates, ids, and missing cells, from .csv, .tsv and .parquet.

The canonical form of a row is two lines of JSON: what its table is (format, columns, types), and its cells as text. Equal
rows are legitimate, so an item's id holds its place. What the columns are is learned by ``nn.schema``. Two views: ids, a
place for each column that is learned, and a grid of one axis, a rank for each number and one place for each category. It
does not know rules between columns, nor order between rows: a series in time is a heap of rows to it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintage.core.errors import BadItem, UsageError
from mintage.core.registry import unknown
from mintage.core.spec import RESERVED, Item, Media, Spec, Specs
from mintage.core.words import say
from mintage.nn import ranks
from mintage.nn.cells import pointed, read_delimited, tabular
from mintage.nn.filled import Filled, in_form, is_whole
from mintage.nn.noise import Noise
from mintage.nn.parquet import misfit, read_parquet, write_parquet
from mintage.nn.schema import KINDS, Column, infer, is_missing

BYTES, CELLS = 1 << 30, 50_000_000  # larger tables are refused before they are read
COLUMNS = 1000
SHOWN = 24  # columns told one by one


compact = partial(json.dumps, ensure_ascii=False, separators=(",", ":"))


class Codec:
    """Tables ↔ ids and ranks."""

    suffixes = (".csv", ".tsv", ".parquet")
    mime = "text/csv"
    family, pipeline, unit = "masked", "tabular-classification", "columns"
    options = ("columns", "header")
    rough = True  # decode takes noise: where in its bin a number lies

    def __init__(self) -> None:
        self.columns: tuple[Column, ...] = ()
        self.head: dict[str, Any] = {"format": "csv", "delimiter": ","}
        self._kinds: dict[str, str] = {}
        self._header: bool | None = None
        self._waiting: dict[tuple[Path, int], str | BadItem] = {}  # listed by ``items`` and not yet read
        self._first: tuple[list[str], str] | None = None  # columns of the first file, and its name

    def configure(self, options: Mapping[str, str]) -> None:
        """``-o columns=age:integer,zip:category``, kinds that a person fixed, and ``-o header=yes|no``."""
        if header := options.get("header", ""):
            if header not in ("yes", "no"):
                raise UsageError(unknown("-o header=", header, ("yes", "no")))
            self._header = header == "yes"
        for pair in filter(None, options.get("columns", "").split(",")):
            name, colon, kind = pair.rpartition(":")
            if not colon:
                raise UsageError(say("-o columns={pair}: write NAME:KIND, joined by commas.", pair=pair))
            if kind not in KINDS:
                raise UsageError(unknown(f"-o columns={name}:", kind, KINDS))
            self._kinds[name] = kind

    @staticmethod
    def claims(path: Path) -> bool:
        """Several columns and no long texts."""
        return path.suffix.lower() == ".parquet" or tabular(path)

    def items(self, path: Path) -> Iterable[Item]:
        """The rows of one file."""
        if path.stat().st_size > BYTES:
            raise BadItem(say("it has {mb} MB, and the limit is {most}", mb=path.stat().st_size >> 20, most=BYTES >> 20))
        head, rows = _read(path, told=self._header)
        names = head["columns"]
        if len(names) * len(rows) > CELLS or len(names) > COLUMNS:
            raise BadItem(say("it has {n} columns and {rows} rows, which is too many", n=len(names), rows=len(rows)))
        self._first = self._first or (names, path.name)
        if sorted(names) != sorted(self._first[0]):
            raise BadItem(say("its columns are not those of {other}", other=self._first[1]))
        start, key, width = compact(head), path.name.encode(), len(names)
        for at, row in enumerate(rows):
            body = f"{start}\n{compact(row)}"
            wrong = say("row {n} has {cells} cells, and there are {columns} columns", n=at + 1, cells=len(row), columns=width)
            self._waiting[path, at] = body if len(row) == width else BadItem(wrong)
            own = hashlib.blake2b(f"{at}\n{body}".encode("utf-8", "surrogatepass"), digest_size=16, key=key[:64])
            yield Item(own.hexdigest(), path, at)

    def read(self, item: Item) -> str:
        """One row: what its table is, and its cells."""
        row = self._waiting.pop((item.path, item.at), None)
        if row is None:
            found = {listed.at: self._waiting.pop((listed.path, listed.at)) for listed in self.items(item.path)}
            row = found.get(item.at, BadItem(say("row {n} is not there", n=item.at + 1)))
        if isinstance(row, BadItem):
            raise row
        return row

    def fit(self, contents: Sequence[str], given: Sequence[Mapping[str, str]] = ()) -> None:
        """What the columns are."""
        pairs = [contents[i].split("\n", 1) for i in range(len(contents))]
        start = Counter(head for head, _ in pairs).most_common(1)[0][0]
        self.head = json.loads(start)
        table = self._aligned(pairs)
        for name in self._kinds:
            if name not in self.head["columns"]:
                raise UsageError(unknown("-o columns=", name, self.head["columns"]))
        names = self.head["columns"]
        self.columns = tuple(infer(name, cells, self._kinds.get(name, "")) for name, cells in zip(names, table, strict=True))
        if not self.learned:
            own = {"file": self._first[1] if self._first else say("the table"), "name": names[0]}
            raise UsageError(say("No column of {file} can be learned: choose what one is by -o columns={name}:category.", **own))

    def _aligned(self, pairs: Sequence[Sequence[str]]) -> list[list[str | None]]:
        """The cells of rows by column, in the order of this codec's columns, whatever the order of theirs. [C][N]"""
        names, orders = self.head["columns"], dict[str, list[int]]()
        rows = []
        for head, body in pairs:
            if head not in orders:
                own = json.loads(head)["columns"]
                orders[head] = [own.index(name) if name in own else len(own) for name in names]
            cells = [*json.loads(body), None]
            rows.append([cells[k] for k in orders[head]])
        return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in names]

    @property
    def state(self) -> dict[str, Any]:
        """Format and columns."""
        return {"head": self.head, "schema": [column.state for column in self.columns]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what ``state`` gave."""
        self.head = dict(state["head"])
        self.columns = tuple(Column.restore(column) for column in state["schema"])

    def guesses(self, contents: Sequence[str]) -> list[tuple[str, str, str, str]]:
        """What the columns are taken for."""
        self.fit(contents)
        rows = [(column.name, _told(column), _why(column), f"-o columns={column.name}:KIND") for column in self.columns]
        kinds = Counter(column.kind for column in self.columns)
        if len(rows) > SHOWN:
            told = ", ".join(f"{n} {say(kind)}" for kind, n in kinds.most_common())
            rows = [(say("columns"), told, say("by their cells"), "-o columns=NAME:KIND")]
        if self._header is None and self.head.get("header") is False:
            rows.insert(0, (say("names of columns"), say("none"), say("the first row is like the others"), "-o header=yes"))
        return rows

    @property
    def learned(self) -> list[Column]:
        """The columns that a model sees."""
        return [column for column in self.columns if column.learned]

    def views(self) -> Specs:
        """Ids, a place a column; and a grid of ranks and places of categories."""
        names = tuple(column.name for column in self.learned)
        ends = np.cumsum([RESERVED, *map(len, self.learned)]).tolist()
        slots = tuple(pairwise(ends))
        width = sum(ranks.width(column) for column in self.learned)
        return {
            "tokens": Spec("tokens", (len(names),), ("column",), names, ends[-1], slots=slots),
            "grid": Spec("grid", (width,), ("feature",)),
        }

    def conditions(self) -> Specs:
        """Nothing apart from the columns."""
        return {}

    def encode_caption(self, texts: Sequence[str], spec: Spec) -> Tensor:
        """Rows have no captions. [B, 0]"""
        return torch.zeros((len(texts), 0), dtype=torch.int64)

    def encode(self, contents: Sequence[str], spec: Spec) -> Tensor:
        """Rows → ids [B, C] int32, or ranks and places of categories [B, F] float32."""
        table = self._aligned([content.split("\n", 1) for content in contents])
        pairs = [(column, cells) for column, cells in zip(self.columns, table, strict=True) if column.learned]
        if spec.kind == "grid":
            parts = [ranks.filled(column, cells) for column, cells in pairs]
            return torch.from_numpy(np.concatenate(parts, 1).astype(np.float32))
        ids = [column.ids(cells) + low for (column, cells), (low, _) in zip(pairs, spec.slots, strict=True)]
        return torch.from_numpy(np.stack(ids, 1).astype(np.int32))

    def ids(self, x: Tensor, spec: Spec) -> Tensor:
        """Content of either view as ids. [B, C] int64"""
        if spec.kind == "tokens":
            return x.long()
        rows, slots = [], self.views()["tokens"].slots
        for (low, _), column, part in zip(slots, self.learned, self._parts(x), strict=True):
            if column.numbers is None:
                own = part.argmax(1)
            else:
                own = column.numbers.bins_at(ranks.position(part)) + column.gaps
                own = np.where(part[:, -1] > 0, 0, own) if column.gaps else own
            rows.append(own + low)
        return torch.from_numpy(np.stack(rows, 1)).long()

    def _parts(self, x: Tensor) -> Iterator[np.ndarray]:
        """The features of each column. [B, width]"""
        values, at = x.float().cpu().numpy(), 0
        for column in self.learned:
            yield values[:, at : at + ranks.width(column)]
            at += ranks.width(column)

    def decode(self, x: Tensor, spec: Spec, noise: Noise | None = None) -> list[Media]:
        """Ids or ranks → rows; of ids, ``noise`` says where in its bin each number lies (without it, in the middle)."""
        n, learned = len(x), self.learned
        made: dict[str, list[str | None]] = {}
        if spec.kind == "grid":
            for column, part in zip(learned, self._parts(x), strict=True):
                made[column.name] = ranks.cells(column, part)
        else:
            fractions = noise.uniform((n, len(learned))).double().numpy() if noise and n else np.full((n, len(learned)), 0.5)
            ids = x.cpu().numpy().astype(np.int64)
            for k, (column, (low, _)) in enumerate(zip(learned, spec.slots, strict=True)):
                made[column.name] = column.cells((ids[:, k] - low).clip(0, len(column) - 1), fractions[:, k])
        table = [made.get(column.name, [None] * n) for column in self.columns]
        start = compact(self.head)
        rows = zip(*table, strict=True) if n else ()
        return [Media(f"{start}\n{compact(row)}", self.mime, self.suffix) for row in rows]

    @property
    def suffix(self) -> str:
        """Of the data's own format."""
        return {"parquet": ".parquet", "tsv": ".tsv"}.get(self.head["format"], ".csv")

    def rows(self, media: Sequence[Media], seeds: Sequence[int]) -> list[list[str | None]]:
        """Cells by column, ids and constants made, in the words of the data. [C][N]"""
        table = self._aligned([str(thing.content).split("\n", 1) for thing in media])
        for k, column in enumerate(self.columns):
            if column.kind in ("id", "constant"):
                table[k] = [new if cell is None else cell for cell, new in zip(table[k], column.make(seeds), strict=True)]
        return table

    def words(self, media: Media) -> str:
        """A row as one line: names and cells."""
        head, cells = (json.loads(line) for line in str(media.content).split("\n", 1))
        pairs = zip(head["columns"], cells, strict=True)
        return " · ".join(f"{name} {cell}" for name, cell in pairs if cell is not None)

    def write(self, media: Sequence[Media], out: Path, names: Sequence[str]) -> list[Path]:
        """One table in the data's own format, with its columns in their order; ids are made from the samples' seeds."""
        out.mkdir(parents=True, exist_ok=True)
        table = self.rows(media, [_seed(name, i) for i, name in enumerate(names)])
        kept = [(column, cells) for column, cells in zip(self.columns, table, strict=True) if column.kind != "leave"]
        path = out / f"{names[0]}-{len(media)}-rows-AI-generated{self.suffix}"
        if self.suffix == ".parquet":
            cells = [(c.name, [None if cell == c.missing else cell for cell in own]) for c, own in kept]
            write_parquet(path, cells, self.head["schema"])
            return [path]
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.head["delimiter"], lineterminator="\n")
        if self.head.get("header", True):
            writer.writerow([column.name for column, _ in kept])
        blanks = [column.missing or "" for column, _ in kept]
        if self.head.get("comma"):  # as they came
            commas = [[c and c.replace(".", ",") for c in cells] if col.kind == "float" else cells for col, cells in kept]
            kept = [(column, cells) for (column, _), cells in zip(kept, commas, strict=True)]
        columns = [[blank if c is None else c for c in cells] for blank, (_, cells) in zip(blanks, kept, strict=True)]
        writer.writerows(zip(*columns, strict=True))
        path.write_bytes(text.getvalue().encode("utf-8", "replace"))
        return [path]

    def known(self, given: Mapping[str, str], spec: Spec) -> Filled:
        """Cells by the names of their columns, or all rows of a file, which comes as a value without a name."""
        named, path, notes = {name: cell for name, cell in given.items() if name}, Path(given.get("", "")), tuple[str, ...]()
        whole = path.suffix.lower() in self.suffixes
        if "" in given and not whole:
            if "class" not in [column.name for column in self.columns]:
                sentence = "--given {value}: write NAME=VALUE, or name a file of rows ({suffixes})."
                raise UsageError(say(sentence, value=given[""], suffixes=", ".join(self.suffixes)))
            named = {"class": given[""], **named}
        rows = [self._checked(named)]
        if whole:
            found, notes = self._cells_of(path)
            rows = [{**row, **rows[0]} for row in found]
        self._fits(rows)
        filled = [[row.get(column.name) for column in self.columns] for row in rows]
        x = self.encode([f"{compact(self.head)}\n{compact(cells)}" for cells in filled], spec)
        there = [[column.holds(row.get(column.name)) for column in self.learned] for row in rows]
        mask = torch.tensor(there, dtype=torch.float32).view(len(rows), -1)
        if spec.kind == "grid":
            widths = torch.tensor([ranks.width(column) for column in self.learned])
            mask = mask.repeat_interleave(widths, 1)
            return Filled({"known": x * mask, "mask": mask}, rows, (), whole, notes)
        gaps = tuple(low for (low, _), column in zip(spec.slots, self.learned, strict=True) if column.gaps) if whole else ()
        return Filled({"known": x.long(), "mask": mask}, rows, gaps, whole, notes)

    def _checked(self, given: Mapping[str, str]) -> dict[str, str]:
        """Cells that a person named, if they can be of their columns."""
        columns, found = {column.name: column for column in self.columns}, dict[str, str]()
        for name, given_cell in given.items():
            if name not in columns:
                raise UsageError(unknown("--given", name, columns))
            column = columns[name]
            found[name] = cell = in_form(column, pointed(given_cell) if self.head.get("comma") else given_cell)
            if column.kind == "category" and cell not in column.index:
                raise UsageError(unknown(f"--given {name}=", cell, column.names))
            if column.learned and (not column.holds(cell) or (column.kind == "integer" and not is_whole(cell))):
                raise UsageError(
                    say("--given {name}={cell}: {name} is of type {kind}.", name=name, cell=cell, kind=say(column.kind))
                )
        return found

    def _fits(self, rows: Sequence[Mapping[str, str]]) -> None:
        """That cells can be written with the types of their columns, before any row is made.

        Raises:
            UsageError: One cannot.
        """
        for column in self.columns if self.suffix == ".parquet" else ():
            cells = [row[column.name] for row in rows if column.name in row]
            if column.kind != "leave" and cells and (wrong := misfit(column.name, cells, self.head["schema"])):
                cell, kind = wrong
                raise UsageError(say("--given {name}={cell}: {name} is of type {kind}.", name=column.name, cell=cell, kind=kind))

    def _cells_of(self, path: Path) -> tuple[list[dict[str, str]], tuple[str, ...]]:
        """The cells of a file's rows that are not missing, by column, and sentences on what is left out."""
        columns = {column.name: column for column in self.columns}
        if not os.path.isfile(path):
            raise UsageError(say("--given {path}: there is no such file.", path=path))
        try:
            head, rows = _read(path, columns, None if self.head.get("header", True) else False)
            names = head["columns"]
            for at, row in enumerate(rows):
                if len(row) != len(names):
                    wrong = "row {n} has {cells} cells, and there are {columns} columns"
                    raise BadItem(say(wrong, n=at + 1, cells=len(row), columns=len(names)))
        except BadItem as error:
            raise UsageError(say("--given {path}: {reason}.", path=path, reason=error)) from None
        if not set(columns) & set(names):
            raise UsageError(unknown("--given", names[0], sorted(columns)))
        found = []
        for row in rows:
            pairs = [pair for pair in zip(names, row, strict=True) if pair[0] in columns]
            found.append({name: in_form(columns[name], cell) for name, cell in pairs if cell is not None and not is_missing(cell)})
        more = [name for name in names if name not in columns or columns[name].kind == "leave"]
        sentence = "{path}: the model does not make {columns}, so what stands there is left out."
        return found, (say(sentence, path=path, columns=", ".join(more)),) if more else ()

    def kept(self, media: Sequence[Media], words: Sequence[Mapping[str, str]]) -> list[Media]:
        """Rows with the cells that were given, as they were given."""
        names, made = self.head["columns"], []
        for thing, cells in zip(media, words, strict=True):
            if known := {names.index(name): cell for name, cell in cells.items() if name in names}:
                head, body = str(thing.content).split("\n", 1)
                row = [known.get(k, cell) for k, cell in enumerate(json.loads(body))]
                thing = replace(thing, content=f"{head}\n{compact(row)}")
            made.append(thing)
        return made

    def passages(self, x: Tensor, spec: Spec) -> list[str]:
        """A row as one word of its ids: it is copied where all columns fall where one training row's do."""
        return [" ".join(map(str, row)) for row in self.ids(x, spec).tolist()]

    def augment(self, x: Tensor, spec: Spec, noise: Noise) -> Tensor:
        """No other row is as good as a real one. [B, ...]"""
        return x

    def fingerprint(self, contents: Sequence[str]) -> np.ndarray:
        """Rows have no near-copies: equal ones are legitimate. [N, 0] uint8"""
        return np.zeros((len(contents), 0), np.uint8)

    def select(self, what: str, spec: Spec) -> Tensor:
        """Names of columns, joined by commas → True on them. [C] bool"""
        names = [column.name for column in self.learned]
        wanted = [name.strip() for name in what.split(",")]
        for name in wanted:
            if name not in names:
                raise UsageError(unknown(say("column"), name, names))
        return torch.tensor([name in wanted for name in names])


def _seed(name: str, position: int) -> int:
    digits = name.removeprefix("seed").partition("-")[0]
    return int(digits) if digits.isdecimal() else position


def _told(column: Column) -> str:
    """A column in a few words."""
    more = say("{kind}, some missing", kind=say(column.kind)) if column.gaps else say(column.kind)
    if column.numbers is not None:
        ends = column.written(np.array([column.numbers.low[0], column.numbers.high[-1]]), np.ones(2, bool))
        return f"{more}: {ends[0]} … {ends[1]}"
    if column.kind == "category":
        return f"{more}: {', '.join(column.names[:4])}" + (f" … ({len(column.names)})" if len(column.names) > 4 else "")
    return more


def _why(column: Column) -> str:
    if column.kind == "id":
        return say("nearly all different; new ones are made")
    if column.kind == "constant":
        return say("always the same")
    if column.numbers is not None:
        return say("{n} ids", n=len(column))
    return say("not made") if column.kind == "leave" else say("its values repeat")


def _read(
    path: Path, asked: Collection[str] = (), told: bool | None = None
) -> tuple[dict[str, Any], Sequence[Sequence[str | None]]]:
    """What a file is, and its rows."""
    return read_parquet(path, CELLS, BYTES) if path.suffix.lower() == ".parquet" else read_delimited(path, asked, told)
