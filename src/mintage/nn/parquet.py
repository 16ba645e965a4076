"""Rows of text cells out of Parquet, and back with the types that they came in. It does not know what a column means."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import time
from pathlib import Path
from typing import Any

from mintage.core.errors import BadItem
from mintage.core.words import say
from mintage.nn.cells import distinct
from mintage.nn.schema import OTHER


def read_parquet(path: Path, cells: int, size: int) -> tuple[dict[str, Any], list[list[str | None]]]:
    """What a file is (columns, and its schema, encoded), and its rows; at most so many cells and bytes.

    Raises:
        BadItem: It is damaged, too large by its own header, or nested.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path, memory_map=False)
        claimed = file.metadata.num_rows * max(1, file.metadata.num_columns)
        held = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        if claimed > cells or held > size:
            raise BadItem(say("it claims {rows} rows and {mb} MB, which is too many", rows=file.metadata.num_rows, mb=held >> 20))
        for field in file.schema_arrow:
            _check(field.name, field.type)
        table = file.read()
        columns = [_as_text(table.column(k)) for k in range(table.num_columns)]
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
        raise BadItem(say("it cannot be read as Parquet ({reason})", reason=str(error).split("\n")[0][:200])) from None
    if not columns or not table.num_rows:
        raise BadItem(say("it has no rows"))
    schema = base64.b64encode(table.schema.remove_metadata().serialize().to_pybytes()).decode()
    head = {"format": "parquet", "columns": distinct(table.column_names), "schema": schema}
    return head, [list(row) for row in zip(*columns, strict=True)]


def _check(name: str, kind: Any) -> None:
    """Whether a type's values can be cells, which come back from text as they were."""
    import pyarrow as pa

    own, types = kind.value_type if pa.types.is_dictionary(kind) else kind, pa.types
    if types.is_nested(own):
        raise BadItem(say("its column {name} holds lists and not single values", name=name))
    numbers = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)
    others = (types.is_date, types.is_time, types.is_timestamp, types.is_null, _is_text)
    if not any(test(own) for test in (*numbers, *others)):
        raise BadItem(say("its column {name} is of type {kind}, which is not read: take it out", name=name, kind=kind))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return str(kind.value_type if pa.types.is_dictionary(kind) else kind) in ("string", "large_string", "string_view")


def _as_text(column: Any) -> list[str | None]:
    """The cells of an Arrow column as text; NaN is missing, moments are in UTC to the microsecond."""
    import pyarrow as pa

    column = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        moments = column.cast(pa.timestamp("us"), safe=False).to_pylist()
        form = "%Y-%m-%d" if pa.types.is_date(kind) else "%Y-%m-%d %H:%M:%S" + _fraction(moments)
        return [None if m is None else m.strftime(form) for m in moments]
    if pa.types.is_time(kind):
        times = column.cast(pa.time64("us"), safe=False).to_pylist()
        form = "%H:%M:%S" + _fraction(times)
        return [None if t is None else t.strftime(form) for t in times]
    form = "f" if pa.types.is_decimal(kind) else ""  # without exponents
    return [None if cell is None or cell != cell else format(cell, form) if form else str(cell) for cell in column.to_pylist()]


def _fraction(moments: Sequence[Any]) -> str:
    return ".%f" if any(m is not None and m.microsecond for m in moments) else ""


def write_parquet(path: Path, columns: Sequence[tuple[str, Sequence[str | None]]], schema: str) -> None:
    """Named columns of text cells, with the types that they came in; new ids that need more digits widen theirs."""
    import pyarrow as pa
    from pyarrow import parquet

    types = _types(schema)
    parquet.write_table(pa.table({name: _as_type(cells, types[name]) for name, cells in columns}), path)


def misfit(name: str, cells: Sequence[str], schema: str) -> tuple[str, str] | None:
    """The first of some cells that a column cannot hold, and its type; None if it holds them all."""
    import pyarrow as pa

    kind = _types(schema)[name]

    def holds(some: Sequence[str]) -> bool:
        try:
            return bool(_as_type(some, kind).type == kind)
        except (pa.ArrowException, ValueError):
            return False

    return None if holds(cells) else next(((cell, str(kind)) for cell in cells if not holds([cell])), None)


def _types(schema: str) -> dict[str, Any]:
    """Arrow types by the names of columns."""
    import pyarrow as pa

    own = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(schema)))
    return dict(zip(distinct(own.names), own.types, strict=True))


def _as_type(cells: Sequence[str | None], kind: Any) -> Any:
    """An Arrow array of text cells as another type; where that is no text, cells without a value of it are missing."""
    import pyarrow as pa
    from pyarrow import compute

    if not _is_text(kind):
        cells = [None if cell in ("", OTHER) else cell for cell in cells]
    if all(cell is None for cell in cells):
        return pa.nulls(len(cells), kind)
    if pa.types.is_dictionary(kind):
        values = _as_type(cells, kind.value_type)
        return values.dictionary_encode().cast(pa.dictionary(kind.index_type, values.type, kind.ordered))
    if pa.types.is_time(kind):
        return pa.array([cell and time.fromisoformat(cell) for cell in cells], pa.time64("us")).cast(kind, safe=False)
    text = pa.array(cells, pa.string())
    if pa.types.is_boolean(kind):
        return compute.utf8_lower(text).cast(kind)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        moments = text.cast(pa.timestamp("us"))
        return (compute.assume_timezone(moments, "UTC") if getattr(kind, "tz", None) else moments).cast(kind, safe=False)
    if pa.types.is_integer(kind):
        return _fitted(compute.replace_substring_regex(text, r"\.0+$", ""), kind, pa.int64())
    if pa.types.is_decimal(kind):
        return _fitted(text, kind, pa.decimal128(38, kind.scale))
    return (text.cast(pa.float64()) if pa.types.is_floating(kind) else text).cast(kind, safe=False)


def _fitted(text: Any, kind: Any, wider: Any) -> Any:
    """Numbers in their type, or in a wider one that holds them all."""
    import pyarrow as pa

    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        return text.cast(wider)
