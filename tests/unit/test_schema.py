"""What a column is taken for, and that its cells come back in the form that they had."""

import re
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from mintage.core.errors import UsageError
from mintage.modalities.table import Codec
from mintage.nn.filled import in_form
from mintage.nn.schema import Column, infer

N = 300


def moments(n=N):
    draw = np.random.default_rng(0)
    return [datetime(2024, 1, 1) + timedelta(milliseconds=int(ms)) for ms in draw.integers(0, 3 * 10**10, n)]


def again(column, cells):
    """Cells learned, stored, and decoded from the middles of their bins."""
    column = Column.restore(column.state)
    return column.cells(column.ids(cells), np.full(len(cells), 0.5))


def utc(hours):
    return timezone(timedelta(hours=hours))


@pytest.mark.parametrize(
    ("write", "form"),
    [
        (lambda m: str(m.replace(microsecond=0, tzinfo=UTC)), r"2024-\d\d-\d\d \d\d:\d\d:\d\d\+00:00"),
        (lambda m: m.replace(microsecond=0, tzinfo=UTC).isoformat(), r"2024-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"),
        (lambda m: m.replace(microsecond=0, tzinfo=utc(1)).isoformat(), r"2024-\d\d-\d\dT\d\d:\d\d:\d\d\+01:00"),
        (lambda m: m.isoformat(timespec="milliseconds") + "Z", r"2024-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
        (lambda m: m.replace(tzinfo=utc(m.day % 2)).isoformat(" ", "milliseconds"), r"2024-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\+00:00"),
        (lambda m: m.replace(microsecond=m.second // 30, tzinfo=UTC).isoformat(), r"2024-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00"),
        (lambda m: m.strftime("%Y-%m-%d %H:%M:%S.") + "123456789", r"2024-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}000"),
        (lambda m: f"{m.month}/{m.day}/{m.year}", r"([1-9]|1[0-2])/[1-9]\d?/2024"),
        (lambda m: f"{m.month}/{m.day}/{m.year} {m:%I:%M %p}", r"([1-9]|1[0-2])/[1-9]\d?/2024 (0[1-9]|1[0-2]):\d\d [AP]M"),
        (lambda m: f"{m:%d.%m.%Y %H:%M:%S}", r"\d\d\.\d\d\.2024 \d\d:\d\d:\d\d"),
    ],
)  # fmt: skip
def test_timestamps_come_back_as_dates_in_their_form(write, form):
    real = moments()
    cells = [write(moment) for moment in real]
    column = infer("when", cells)
    assert column.kind == "date"
    made = again(column, cells)
    assert all(re.fullmatch(form, cell) for cell in made), made[:3]
    told, own = column.values(made), column.values(cells)
    assert not np.isnan(told).any(), "every one is a possible date"
    assert abs(told - own).max() < 40 * 86_400, "in the same bin"
    assert len(set(made)) > 20


def test_offsets_that_differ_are_told_in_utc():
    column = infer("when", [f"2024-03-{1 + k % 9:02d}T12:00:00+0{k % 2}:00" for k in range(90)])
    assert set(again(column, ["2024-03-05T12:00:00+01:00"])) == {"2024-03-05T11:00:00+00:00"}


def test_what_begins_like_a_date_is_never_made_out_of_characters():
    cells = [
        f"2024-{1 + k % 12:02d}-{1 + k % 28:02d} {k % 24:02d}:{k % 60:02d}:{k * 7 % 60:02d}.{k * 31 % 1000:03d} CET"
        for k in range(N)
    ]
    column = infer("when", cells)
    assert column.kind == "id"
    assert not any(re.match(r"\d{4}-", cell) for cell in column.make(range(50)))


def test_a_date_that_a_person_gives_takes_the_form_of_its_column():
    def given(cells, cell):
        return in_form(infer("when", cells), cell)

    days = range(1, 28)
    assert given([f"{m}/{d}/2024" for m in (1, 2) for d in days], "2024-02-03") == "2/3/2024"
    assert given([f"2024-01-{d:02d}T10:00:00.{d:03d}Z" for d in days], "2024-01-05T10:00+01:00") == "2024-01-05T09:00:00.000Z"
    assert given([f"2024-01-{d:02d} 10:00:00+02:00" for d in days], "2024-01-05T10:00+01:00") == "2024-01-05 11:00:00+02:00"
    assert given([f"2024-01-{d:02d} 10:00:00+0{d % 3}:00" for d in days], "2024-01-05T10:00+01:00") == "2024-01-05 09:00:00+00:00"


def test_ids_are_missing_as_often_and_keep_their_width():
    draw = np.random.default_rng(0)
    cells = [f"C{k:05d}" if draw.random() < 0.25 else "NA" for k in range(1, 1000)]
    column = Column.restore(infer("cabin", cells).state)
    made = column.make(range(2000))
    share = sum(cell is None for cell in made) / len(made)
    assert column.missing == "NA"
    assert abs(share - cells.count("NA") / len(cells)) < 0.04
    own = [cell for cell in made if cell is not None]
    assert len(set(own)) == len(own)
    assert all(re.fullmatch(r"C\d{5}", cell) for cell in own)
    assert not set(own) & {f"C{k:05d}" for k in range(1100)}, "nor the ids of rows that were not seen"
    assert made[3:9] == column.make(range(3, 9)), "the seed alone decides"


def test_few_missing_ids_are_not_counted_exactly():
    assert infer("id", ["", *(f"a{k:03d}" for k in range(99))]).empty == 0.05
    assert infer("id", [f"a{k:03d}" for k in range(99)]).empty == 0


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        ([str(k) for k in range(1, 300)], r"[6-9]\d\d|1\d{3}"),
        ([str(1000 + k) for k in range(300)], r"[2-9]\d{3}"),
        ([f"{k:02d}" for k in range(99)], r"\d{3}"),
    ],
)
def test_numbers_of_ids_begin_beyond_all(cells, form):
    made = infer("id", cells).make(range(500))
    assert all(re.fullmatch(form, cell) for cell in made)
    assert not set(made) & set(cells)


def test_integers_of_many_digits_are_ids_and_lose_none():
    cells = [str(1_150_000_000_000_000_001 + (k << 22)) for k in range(N)]
    column = Column.restore(infer("tweet", cells).state)
    assert column.kind == "id"
    made = column.make(range(100))
    assert all(re.fullmatch(r"\d{19}", cell) for cell in made)
    assert len(set(made)) == 100
    again_and_again = infer("author", cells[:3] * 100)
    assert again_and_again.kind == "category"
    assert set(again(again_and_again, cells[:3])) == set(cells[:3])
    assert infer("size", [str(10**k + k) for k in range(8, 18)] * 9).kind == "float", "a few long ones among others are numbers"


def test_one_tiny_number_leaves_the_others_their_digits():
    cells = [f"{1e6 + 1.25 * k:.2f}" for k in range(1, N)] + ["1e-05"]
    made = again(infer("e", cells), cells[:100])
    assert all(re.fullmatch(r"\d{6,7}\.\d\d", cell) for cell in made), made[:3]
    whole = [str(float(k)) for k in range(N)] + ["1e+22"]
    assert all(re.fullmatch(r"\d+\.\d", cell) for cell in again(infer("e", whole), whole[:100]))


def test_numbers_of_all_sizes_stay_so():
    cells = [repr(float(f"{10.0 ** -(k % 30) * (1 + k / 400):.4g}")) for k in range(400)]
    column = infer("p", cells)
    made = again(column, cells)
    assert "0.0" not in made
    assert max(abs(np.log10(column.values(made)) - np.log10(column.values(cells)))) < 2
    assert all(len(re.sub(r"e.*|\.", "", cell).strip("0")) <= 4 for cell in made)


def lines(head, row, n=120):
    draw = np.random.default_rng(0)
    return "\n".join([*head, *(row(k, draw) for k in range(n))]) + "\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (lines(["region,2019,2020"], lambda k, d: f"{'NS'[k % 2]},{d.normal(5):.2f},{d.normal(5):.2f}"), ["region", "2019", "2020"]),
        (lines(["town,2019,2020"], lambda k, d: f"t{k},{d.integers(10, 9000)},{d.integers(10, 9000)}"), ["town", "2019", "2020"]),
        (lines(["what,1,2,3"], lambda k, d: f"{'NS'[k % 2]},{k % 9},{k % 7},{k % 8}"), ["what", "1", "2", "3"]),
        (lines(["x,y,y"], lambda k, d: ",".join(f"{v:.2f}" for v in d.normal(5, 1, 3))), ["x", "y", "y.3"]),
        (lines(["a,a.3,a"], lambda k, d: f"{k % 5},{k % 7},{k % 9}"), ["a", "a.3", "a.4"]),
        (lines(["year,value,2"], lambda k, d: f"{1990 + k % 9},{k % 7},{k % 5}"), ["year", "value", "2"]),
        (lines([], lambda k, d: f"{'NS'[k % 2]},{1990 + k % 30},{2000 + k % 20}"), ["column1", "column2", "column3"]),
        (lines([], lambda k, d: f"t{k},{1990 + k % 30},{1991 + k % 30}"), ["column1", "column2", "column3"]),
        (lines([], lambda k, d: f"{'NS'[k % 2]},{k % 5},{1 + k % 5}"), ["column1", "column2", "column3"]),
        (lines(["NA,5.5"], lambda k, d: f"{k % 7},{k % 9}"), ["column1", "column2"]),
        (lines(["2019,2020"], lambda k, d: f"{k % 7},{k % 9}"), ["column1", "column2"]),
    ],
)  # fmt: skip
def test_the_first_row_is_told_from_the_others(tmp_path, text, names):
    (tmp_path / "t.csv").write_text(text)
    codec = Codec()
    contents = [codec.read(item) for item in codec.items(tmp_path / "t.csv")]
    codec.fit(contents)
    assert [column.name for column in codec.columns] == names
    assert len(contents) == text.count("\n") - (names[0] != "column1")


def test_a_person_says_whether_there_is_a_header(tmp_path):
    (tmp_path / "t.csv").write_text(lines(["2019,2020"], lambda k, d: f"{k % 7},{k % 9}"))
    found = {}
    for word in ("yes", "no"):
        codec = Codec()
        codec.configure({"header": word})
        found[word] = [codec.read(item) for item in codec.items(tmp_path / "t.csv")]
        codec.fit(found[word])
        assert [column.name for column in codec.columns] == (["2019", "2020"] if word == "yes" else ["column1", "column2"])
        assert all("header=" not in option for *_, option in codec.guesses(found[word]))
    assert (len(found["yes"]), len(found["no"])) == (120, 121)
    codec = Codec()
    guesses = codec.guesses([codec.read(item) for item in codec.items(tmp_path / "t.csv")])
    assert guesses[0][-1] == "-o header=yes"
    with pytest.raises(UsageError, match="header"):
        codec.configure({"header": "maybe"})


def test_a_table_of_which_nothing_can_be_learned_is_refused(tmp_path):
    (tmp_path / "ids.csv").write_text(lines(["id,key"], lambda k, d: f"{k},k-{k:04d}"))
    codec = Codec()
    contents = [codec.read(item) for item in codec.items(tmp_path / "ids.csv")]
    with pytest.raises(UsageError, match=r"No column of ids\.csv can be learned.*-o columns=id:category"):
        codec.fit(contents)
    codec.configure({"columns": "id:integer"})
    codec.fit(contents)
    assert [column.name for column in codec.learned] == ["id"]
