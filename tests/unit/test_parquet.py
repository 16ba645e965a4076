"""Tables in Parquet: every common type trains, generates and comes back as it was; given cells fit their types or are refused."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from specimens import read

from mintage.core.errors import BadItem, UsageError
from mintage.modalities.table import Codec, compact
from mintage.nn.noise import Noise
from mintage.verbs.generate import generate
from mintage.verbs.load import load
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

N = 60
DRAW = np.random.default_rng(0)
MOMENTS = [datetime(2024, 1, 1) + timedelta(seconds=int(s)) for s in DRAW.integers(0, 10**6, N)]
NANOS = pa.array([int(ns) for ns in DRAW.integers(16 * 10**17, 17 * 10**17, N)], pa.int64())
TYPES = {
    "all missing": pa.array([float("nan")] * N),
    "null": pa.nulls(N),
    "nearly all missing": pa.array([7, 7, 8] + [None] * (N - 3), pa.int64()),
    "short serial": pa.array(range(N), pa.int8()),
    "serial codes": pa.array(range(N), pa.int16()).dictionary_encode(),
    "serial decimal": pa.array([Decimal(k) for k in range(N)], pa.decimal128(3, 0)),
    "nanoseconds": NANOS.cast(pa.timestamp("ns")),
    "zoned": pa.array(MOMENTS, pa.timestamp("ms", "Europe/Berlin")),
    "time32": pa.array([time(k % 24, k % 60) for k in range(N)], pa.time32("s")),
    "time64": pa.array([time(k % 24, k % 60, 0, k % 5 * 1000) for k in range(N)], pa.time64("ns")),
    "rare flag": pa.array([True, True] + [None] * (N - 2)),
    "decimal": pa.array([Decimal(int(cents)) / 100 for cents in DRAW.integers(0, 10**6, N)], pa.decimal128(12, 2)),
    "big": pa.array([int(v) * 2**31 for v in DRAW.integers(0, 2**31, N)], pa.uint64()),
}


def there_and_back(folder, column, options=None):
    """A column written, read, learned, drawn again and written."""
    table = pa.table({"a": DRAW.normal(size=len(column)), "own": column})
    parquet.write_table(table, folder / "t.parquet")
    codec, contents = read(folder / "t.parquet", options)
    spec = codec.views()["tokens"]
    media = codec.decode(codec.encode(contents, spec), spec, Noise.rows_of(range(len(contents))))
    made = parquet.read_table(codec.write(media, folder / "out", [f"seed{k}-0" for k in range(len(media))])[0])
    return parquet.read_table(folder / "t.parquet"), made


@pytest.mark.parametrize("name", TYPES)
def test_common_types_come_back(tmp_path, name):
    table, made = there_and_back(tmp_path, TYPES[name])
    kind, own = table.schema.field("own").type, made.schema.field("own").type
    if not name.startswith("s"):
        assert own == kind
        return
    assert made["own"].null_count == 0
    olds, news = set(table["own"].to_pylist()), made["own"].to_pylist()
    assert len(set(news)) == N, "new ids, which may need a wider type"
    assert not olds & set(news)


def test_moments_stay_in_their_range(tmp_path):
    for kind in ("zoned", "time64"):
        table, made = (side["own"].to_pylist() for side in there_and_back(tmp_path, TYPES[kind]))
        assert min(table) <= min(made) <= max(made) <= max(table)


def test_rare_numbers_taken_for_categories_become_missing(tmp_path):
    codes = [*range(100, 120), *[7] * 40]
    _, made = there_and_back(tmp_path, pa.array(codes), {"columns": "own:category"})
    assert made.schema.field("own").type == pa.int64()
    assert set(made["own"].to_pylist()) == {7, None}
    assert made["own"].null_count == 20


@pytest.mark.parametrize("column", [pa.array([b"ab\xff", b"cd"]), pa.array([1, 2], pa.duration("s")), pa.array([[1], [2]])])
def test_what_is_no_cell_is_named(tmp_path, column):
    parquet.write_table(pa.table({"a": [1, 2], "odd": column}), tmp_path / "t.parquet")
    with pytest.raises(BadItem, match="odd"):
        list(Codec().items(tmp_path / "t.parquet"))


def people():
    draw, berlin = np.random.default_rng(1), pa.timestamp("us", "Europe/Berlin")
    return pa.table({
        "age": pa.array(draw.integers(18, 80, N)),
        "when": pa.array([datetime(2023, 12, 31, 23, tzinfo=UTC) + timedelta(seconds=7919 * k) for k in range(N)], berlin),
        "flag": [k % 3 == 0 for k in range(N)],
        "town": [["Köln", "東京"][k % 2] for k in range(N)],
        "small": pa.array(draw.integers(0, 9, N), pa.int8()),
    })  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parquet")
    parquet.write_table(people(), folder / "people.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINTAGE_CACHE", str(folder / "cache"))
        yield train(Wish(str(folder / "people.parquet"), minutes=0.05, options=("steps=2",)), str(folder / "runs")).run


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"age": "39.0"}, 39),
        ({"flag": "true"}, True),
        ({"flag": "TRUE"}, True),
        ({"flag": "false"}, False),
        ({"town": "köln"}, "Köln"),
        ({"when": "2024-01-03 14:50:28+01:00"}, datetime(2024, 1, 3, 13, 50, 28, tzinfo=UTC)),
        ({"when": "2024-01-03T14:50"}, datetime(2024, 1, 3, 14, 50, tzinfo=UTC)),
    ],
)
def test_given_cells_are_put_in_form(run, tmp_path, given, found):
    made = parquet.read_table(generate(str(run), 3, given=given, out=tmp_path).paths[0])
    assert made[next(iter(given))].to_pylist() == [found] * 3


def test_given_cells_are_heard(run):
    codec = load(str(run)).codec
    spec = codec.views()["tokens"]
    for given in ({"when": "2024-01-03 14:50:28+01:00"}, {"flag": "true"}, {"age": "39.0"}):
        found = codec.known(given, spec)
        assert found.cond["mask"].sum() == 1
        own = codec.encode([f"{compact(codec.head)}\n{compact([found.words[0].get(c.name) for c in codec.columns])}"], spec)
        assert (found.cond["known"] == own).all()


@pytest.mark.parametrize("given", [{"age": "39.5"}, {"flag": "maybe"}, {"when": "soon"}, {"small": "300"}])
def test_given_cells_that_do_not_fit_are_refused(run, given):
    with pytest.raises(UsageError, match=next(iter(given))):
        generate(str(run), 3, given=given)


def test_holes_that_pandas_would_write_are_filled(run, tmp_path):
    own = people()[:9].to_pylist()
    holes = pa.table({  # pandas turns integers with holes into floats, and text is what astype(str) gives
        "age": [None if k % 2 == 0 else float(row["age"]) for k, row in enumerate(own)],
        "when": [str(row["when"]) for row in own],
        "flag": [str(row["flag"]).lower() for row in own],
        "town": [None if k % 2 else row["town"] for k, row in enumerate(own)],
        "small": [None if k % 2 == 0 else float(row["small"]) for k, row in enumerate(own)],
    })  # fmt: skip
    parquet.write_table(holes, tmp_path / "holes.parquet")
    made = parquet.read_table(generate(str(run), given={"": str(tmp_path / "holes.parquet")}, out=tmp_path / "out").paths[0])
    assert made.num_rows == 9
    assert made.schema.field("small").type == pa.int8()
    for k, (row, given) in enumerate(zip(made.to_pylist(), own, strict=True)):
        kept = ("when", "flag", "town") if k % 2 == 0 else ("when", "flag", "age", "small")
        assert {name: row[name] for name in kept} == {name: given[name] for name in kept}


def test_a_cell_of_a_file_that_does_not_fit_is_named(run, tmp_path):
    parquet.write_table(pa.table({"age": [30.0, 39.5]}), tmp_path / "holes.parquet")
    with pytest.raises(UsageError, match=r"age=39\.5.*int64"):
        generate(str(run), given={"": str(tmp_path / "holes.parquet")})
