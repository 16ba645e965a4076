"""Rows of text cells out of Parquet, and back with the types that they came in. It does not know what a column means."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mintage.core.errors import BadItem
from mintage.core.words import say
from mintage.nn.cells import distinct


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
        nested = next((field.name for field in file.schema_arrow if pa.types.is_nested(field.type)), "")
        if nested:
            raise BadItem(say("its column {name} holds lists and not single values", name=nested))
        table = file.read()
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
        raise BadItem(say("it cannot be read as Parquet ({reason})", reason=str(error).split("\n")[0][:200])) from None
    columns = [_as_text(table.column(k)) for k in range(table.num_columns)]
    if not columns or not table.num_rows:
        raise BadItem(say("it has no rows"))
    schema = base64.b64encode(table.schema.remove_metadata().serialize().to_pybytes()).decode()
    head = {"format": "parquet", "columns": distinct(table.column_names), "schema": schema}
    return head, [list(row) for row in zip(*columns, strict=True)]


def _as_text(column: Any) -> list[str | None]:
    """The cells of an Arrow column as text; NaN is missing."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        moments = column.cast(pa.timestamp("us")).to_pylist()
        day = pa.types.is_date(kind)
        form = "%Y-%m-%d" if day else "%Y-%m-%d %H:%M:%S.%f" if any(m and m.microsecond for m in moments) else "%Y-%m-%d %H:%M:%S"
        return [None if m is None else m.strftime(form) for m in moments]
    return [None if cell is None or cell != cell else str(cell) for cell in column.to_pylist()]


def write_parquet(path: Path, columns: Sequence[tuple[str, Sequence[str | None]]], schema: str) -> None:
    """Named columns of text cells, with the types that they came in."""
    import pyarrow as pa
    from pyarrow import parquet

    types = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(schema)))
    arrays = {}
    for name, cells in columns:
        arrays[name] = _as_type(pa.array(cells, pa.string()), types.field(name).type)
    parquet.write_table(pa.table(arrays), path)


def _as_type(text: Any, kind: Any) -> Any:
    """An Arrow array of texts as another type."""
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_dictionary(kind):
        return _as_type(text, kind.value_type).dictionary_encode().cast(kind)
    if pa.types.is_boolean(kind):
        return compute.equal(text, "True")
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        text = text.cast(pa.timestamp("us"))
        text = compute.assume_timezone(text, "UTC") if getattr(kind, "tz", None) else text
    elif pa.types.is_floating(kind):
        text = text.cast(pa.float64())
    return text.cast(kind, safe=False)
