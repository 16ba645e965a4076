"""Tables: what columns are taken for, there and back, what must not travel, malformed files, and rows drawn in any order."""

import csv
import json
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from specimens import read

from mintage.core.errors import BadItem, UsageError
from mintage.core.spec import Batch, Spec
from mintage.families import masked, sketch
from mintage.modalities.table import Codec
from mintage.nn.cells import tabular
from mintage.nn.noise import Noise
from mintage.nn.quantiles import Quantiles
from mintage.nn.trainer import Clock, Trainer, Training
from mintage.trust import verify
from mintage.verbs.evaluate import evaluate
from mintage.verbs.generate import generate
from mintage.verbs.inspect import inspect
from mintage.verbs.plan import Wish
from mintage.verbs.sheet import cramer
from mintage.verbs.train import train

N = 400


def people(n=N, seed=0):
    """Rows with everything: serial ids, codes, holes, dates, money, a constant, and an income that follows age and town."""
    draw = np.random.default_rng(seed)
    rows = []
    for k in range(n):
        age, town = int(draw.integers(18, 80)), str(draw.choice(["Ulm", "Bonn", "Kiel"], p=[0.6, 0.3, 0.1]))
        income = 900 * age + 9000 * (town == "Kiel") + draw.normal(0, 4000)
        rows.append(
            {
                "id": 1000 + k,
                "code": f"AB-{k * 7:05d}",
                "age": age,
                "town": town if draw.random() > 0.1 else "",
                "income": f"{income:.2f}" if draw.random() > 0.2 else "NA",
                "since": str(np.datetime64("2015-01-01") + int(draw.integers(0, 2000))),
                "country": "DE",
                "note": f"{draw.random():.9f}x",
            }
        )
    return rows


def write(path, rows, delimiter=","):
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        out.writeheader()
        out.writerows(rows)
    return path


def back(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    rows = people()
    codec, contents = read(write(folder / "people.csv", rows))
    spec = codec.views()["tokens"]
    x = codec.encode(contents, spec).long()
    media = codec.decode(x, spec, Noise.rows_of(range(len(x))))
    path = codec.write(media, folder / "out", [f"seed{k:04d}-0" for k in range(len(media))])[0]
    return rows, codec, back(path)


def test_kinds_are_inferred(made):
    _, codec, _ = made
    kinds = {column.name: column.kind for column in codec.columns}
    assert kinds == {
        "id": "id", "code": "id", "age": "integer", "town": "category", "income": "float", "since": "date",
        "country": "constant", "note": "id",
    }  # fmt: skip
    assert {column.name for column in codec.columns if column.gaps} == {"town", "income"}


def test_rows_keep_their_form(made):
    rows, _, found = made
    assert list(found[0]) == list(rows[0])
    ages, incomes = [int(row["age"]) for row in rows], [float(row["income"]) for row in rows if row["income"] != "NA"]
    for real, row in zip(rows, found, strict=True):
        assert row["town"] == real["town"]
        assert (row["income"] == "NA") == (real["income"] == "NA")
        assert row["country"] == "DE"
        assert min(ages) <= int(row["age"]) <= max(ages)
        assert np.datetime64("2015-01-01") <= np.datetime64(row["since"]) < np.datetime64("2020-07-01")
        if row["income"] != "NA":
            assert min(incomes) <= float(row["income"]) <= max(incomes)
            assert len(row["income"].partition(".")[2]) == 2, "as many decimals as the data"
            assert abs(float(row["income"]) - float(real["income"])) < 15_000, "in the same bin"


def test_ids_are_new_and_different(made):
    rows, _, found = made
    for name in ("id", "code", "note"):
        own = {row[name] for row in found}
        assert len(own) == len(found)
        assert not own & {str(row[name]) for row in rows}


def test_no_rare_value_travels(made):
    rows, codec, _ = made
    card = json.dumps(codec.state)
    for name in ("code", "note", "since", "income"):
        counts = {value: sum(row[name] == value for row in rows) for value in {row[name] for row in rows}}
        rare = [value for value, n in counts.items() if n < 5]
        assert rare
        assert not any(value in card for value in rare), name


def test_what_a_person_says_wins(tmp_path):
    path = write(tmp_path / "p.csv", people(60))
    codec, _ = read(path, {"columns": "age:category,since:leave"})
    kinds = {column.name: column.kind for column in codec.columns}
    assert (kinds["age"], kinds["since"]) == ("category", "leave")
    with pytest.raises(UsageError, match="categoy"):
        read(path, {"columns": "age:categoy"})
    with pytest.raises(UsageError, match="aeg"):
        read(path, {"columns": "aeg:category"})


def test_equal_rows_are_no_duplicates(tmp_path, monkeypatch):
    monkeypatch.setenv("MINTAGE_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path / "coin.csv", [{"coin": "heads" if k % 3 else "tails", "hand": "left"} for k in range(90)])
    found = inspect(str(path))
    assert found.modality == "table"
    assert len(found.items) == 90
    assert any(guess.name == "coin" and "category" in guess.value for guess in found.guesses)


@pytest.mark.parametrize(
    ("name", "text", "answer"),
    [
        ("a.csv", "x,y\n1,2\n3,4\n", True),
        ("a.csv", "x;y\n1,5;b\n2,5;b\n", True),
        ("b.csv", "text,label\nthe sea is calm tonight my love,1\nwe go home,0\n", False),
        ("c.tsv", "Hi.\tSalut.\nRun.\tCours.\nGo away now.\tVa-t'en.\n", False),
        ("d.csv", "one column\nof words\n", False),
        ("e.csv", "", False),
    ],
)
def test_tables_are_told_from_texts(tmp_path, name, text, answer):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert tabular(tmp_path / name) is answer


def test_parquet_keeps_its_types(tmp_path):
    n, draw = 60, np.random.default_rng(0)
    table = pa.table(
        {
            "small": pa.array(draw.integers(0, 9, n), pa.int8()),
            "real": pa.array([None if k % 9 == 0 else float(draw.normal()) for k in range(n)], pa.float32()),
            "flag": pa.array([bool(k % 2) for k in range(n)]),
            "day": pa.array([date(2020, 1, 1) + timedelta(int(draw.integers(0, 90))) for _ in range(n)], pa.date32()),
            "when": pa.array([datetime(2020, 1, 1) + timedelta(seconds=int(draw.integers(0, 9**6))) for _ in range(n)], pa.timestamp("ms")),
            "kind": pa.array([["a", "b"][k % 2] for k in range(n)]).dictionary_encode(),
        }
    )  # fmt: skip
    parquet.write_table(table, tmp_path / "t.parquet")
    codec, contents = read(tmp_path / "t.parquet")
    spec = codec.views()["tokens"]
    media = codec.decode(codec.encode(contents, spec), spec, Noise.rows_of(range(n)))
    made = parquet.read_table(codec.write(media, tmp_path / "out", [f"seed{k}-0" for k in range(n)])[0])
    assert made.schema.equals(table.schema)
    assert made["flag"].to_pylist() == table["flag"].to_pylist()
    assert [v is None for v in made["real"].to_pylist()] == [v is None for v in table["real"].to_pylist()]


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("empty.csv", b"", "empty"),
        ("zeros.csv", bytes(999), "zero"),
        ("noise.csv", bytes(range(256)) * 9, "binary|broken"),
        ("head.csv", b"a,b,c\n", "no rows|cells"),
        ("cut.parquet", b"PAR1" + bytes(90) + b"PAR1", "Parquet"),
        ("not.parquet", b"a,b\n1,2\n", "Parquet"),
        ("empty.parquet", b"", "Parquet"),
    ],
)
def test_broken_files_are_named(tmp_path, name, data, why):
    (tmp_path / name).write_bytes(data)
    codec = Codec()
    with pytest.raises(BadItem, match=why):
        [codec.read(item) for item in codec.items(tmp_path / name)]


def test_a_ragged_row_is_set_aside_alone(tmp_path):
    (tmp_path / "r.csv").write_text("a,b\n1,2\n3\n5,6\n", encoding="utf-8")
    codec = Codec()
    items = list(codec.items(tmp_path / "r.csv"))
    assert len(items) == 3
    with pytest.raises(BadItem, match="row 2 has 1 cells"):
        codec.read(items[1])
    assert codec.read(items[2]).endswith('["5","6"]')


@pytest.mark.parametrize("values", [np.random.default_rng(0).normal(size=500), np.repeat(np.arange(7.0), 30), np.array([1.0, 2.0])])
def test_quantiles_go_there_and_back(values):
    found = Quantiles.fit(values, 5)
    ids = found.bins(values)
    assert np.array_equal(found.bins(found.at(found.within(ids, np.full(len(ids), 0.37)))), ids)
    drawn = found.at(np.linspace(0, 1, 101))
    assert (np.diff(drawn) >= 0).all()
    assert values.min() <= drawn.min() <= drawn.max() <= values.max()
    assert abs(np.median(found.at(found.positions(values))) - np.median(values)) < 0.2


def test_both_views_agree(made):
    rows, codec, _ = made
    contents = [json.dumps(codec.head) + "\n" + json.dumps([str(v) for v in row.values()]) for row in rows]
    tokens, grid = codec.views()["tokens"], codec.views()["grid"]
    x = codec.encode(contents, grid)
    assert x.abs().max() <= 1
    assert (codec.ids(x, grid) == codec.encode(contents, tokens)).float().mean() > 0.99


SLOTS = ((5, 7), (7, 9), (9, 13))


def coins(noise, rows=64):
    """Two fair coins, and a third column that is both of them."""
    first, second = noise.integers(0, 2, (2, rows))
    return Batch(torch.stack([5 + first, 7 + second, 9 + 2 * first + second], 1), {}, torch.ones(rows), torch.full((rows,), 3))


@pytest.fixture(scope="module")
def model():

    target = Spec("tokens", (3,), ("column",), ("a", "b", "both"), 13, slots=SLOTS)
    with Noise("columns").seeded():
        found = masked.Model(target, {}, masked.Config(width=32, layers=1, heads=2))
    trainer = Trainer(found, Training(batch=64, lr=0.02, decay=0.5), Clock(150), seed=1)
    for step in range(150):
        trainer.step(step, coins)
    return found.eval()


def drawn(model, seeds, cond=None):
    return list(model.sample(cond or {}, Noise.rows_of(seeds), {}))[-1]


def test_rows_hang_together(model):
    x = drawn(model, range(512))
    first, second, both = (x - torch.tensor([5, 7, 9])).unbind(1)
    assert (both == 2 * first + second).float().mean() > 0.98
    assert 0.4 < first.float().mean() < 0.6
    assert model.log_prob(coins(Noise("t"), 64)).mean().item() == pytest.approx(-2 * np.log(2), abs=0.1)


def test_given_columns_stay_and_are_heard(model):
    known = torch.tensor([[0, 0, 11]])
    x = drawn(model, range(64), {"known": known, "mask": (known > 0).float()})
    assert (x[:, 2] == 11).all()
    assert (x[:, :2] == torch.tensor([6, 7])).float().mean() > 0.97, "both = 2 says heads and tails"


def test_a_row_does_not_depend_on_its_neighbours(model):
    assert torch.equal(drawn(model, [7, 8, 9])[1], drawn(model, [8, 3, 1])[0])


def test_the_copula_keeps_columns_and_order():
    draw = torch.Generator().manual_seed(0)
    score = torch.randn(4000, 2, generator=draw)
    score[:, 1] = 0.8 * score[:, 0] + 0.6 * score[:, 1]
    ids = torch.stack([5 + (score[:, 0] * 2 + 6).round().long().clamp(0, 11), 17 + (score[:, 1] > 1).long()], 1)

    model = sketch.Model(Spec("tokens", (2,), ("column",), vocab=19, slots=((5, 17), (17, 19))), {}, sketch.Config())
    model.settle([Batch(ids, {}, torch.ones(len(ids)), torch.full((len(ids),), 2))])
    x = drawn(model, range(2000))
    assert abs((x[:, 1] == 18).float().mean() - (ids[:, 1] == 18).float().mean()) < 0.03
    assert torch.corrcoef(x.T.float())[0, 1] == pytest.approx(torch.corrcoef(ids.T.float())[0, 1].item(), abs=0.12)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short training on people, through the verbs."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINTAGE_CACHE", str(folder / "cache"))
        wish = Wish(str(write(folder / "people.csv", people())), minutes=0.05, options=("steps=40",))
        yield train(wish, str(folder / "runs")).run


def test_cells_that_are_given_come_back_and_the_rest_is_made(run, tmp_path):
    rows = back(generate(str(run), 30, given={"town": "Kiel", "age": "33"}, out=tmp_path).paths[0])
    assert len(rows) == 30
    assert {(row["town"], row["age"]) for row in rows} == {("Kiel", "33")}
    assert len({row["income"] for row in rows}) > 10
    for given, why in (({"twon": "Kiel"}, "twon"), ({"town": "Kile"}, "Kile"), ({"age": "old"}, "integer")):
        with pytest.raises(UsageError, match=why):
            generate(str(run), 2, given=given)


def test_the_file_says_that_it_was_made(run, tmp_path):
    path = generate(str(run), 5, out=tmp_path).paths[0]
    assert verify(path).verdict == "compliant"
    path.write_text(path.read_text(encoding="utf-8").replace("Ulm", "Rom"), encoding="utf-8")
    assert verify(path).verdict == "noncompliant"


def test_a_file_is_completed(run, tmp_path):
    holes = people(40, seed=5)
    for k, row in enumerate(holes):
        row["income" if k % 2 else "town"] = ""
    path = write(tmp_path / "holes.csv", [{k: v for k, v in row.items() if k != "since"} for row in holes])
    rows = back(generate(str(run), given={"": str(path)}, out=tmp_path / "out").paths[0])
    assert len(rows) == 40
    for hole, row in zip(holes, rows, strict=True):
        for name in ("id", "code", "age", "town", "income"):
            if hole[name] not in ("", "NA"):
                assert row[name] == str(hole[name]), "as it was, and not a bin of it"
            assert row[name] not in ("", "NA"), "nothing is left missing"
        assert row["since"]
    with pytest.raises(UsageError, match="no such file"):
        generate(str(run), given={"": str(tmp_path / "no.csv")})


def test_the_verdict_on_rows_is_reached(run):
    report = evaluate(str(run))
    names = {line.made.name for line in report.lines}
    assert {"two-sample accuracy", "column shapes", "pair trends", "train on made, test on real", "copies"} <= names
    assert report.verdict.word in ("gold", "bubble", "unproven")
    page = Path(report.path).read_text(encoding="utf-8")
    assert page.count('<svg class="bars"') == 4, "a histogram a column that is learned"
    assert page.count('<svg class="heat"') == 2
    assert "AB-1" not in page, "ids are made when rows are written"


def test_cramer_knows_dependence_from_none():
    draw = Noise("cramer")
    a, b = draw.integers(0, 4, (2, 2000))
    assert cramer(a, a) == pytest.approx(1, abs=0.01)
    assert cramer(a, b) < 0.06
    assert cramer(a, torch.zeros_like(a)) == 0


@pytest.mark.parametrize(("point", "other"), [(".", ","), (",", ".")])
def test_decimals_come_back_with_the_mark_they_came_with(tmp_path, point, other):
    acids = [f"{value:.2f}".replace(".", point) for value in np.random.default_rng(0).normal(7, 1, 60)]
    path = write(tmp_path / "wine.csv", [{"acid": acid, "grower": "ab"[k % 2]} for k, acid in enumerate(acids)], ";")
    codec, contents = read(path)
    spec = codec.views()["tokens"]
    assert [column.kind for column in codec.columns] == ["float", "category"]
    media = codec.decode(codec.encode(contents, spec), spec)
    media[0] = codec.kept(media[:1], codec.known({"acid": f"7{point}4"}, spec).words)[0]
    text = codec.write(media, tmp_path / "out", [f"seed{k}-0" for k in range(60)])[0].read_text(encoding="utf-8")
    assert f"7{point}4;a\n" in text
    assert text.count(point) == 60
    assert other not in text


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """A model of a table with a column called class."""
    folder, draw = tmp_path_factory.mktemp("flowers"), np.random.default_rng(0)
    rows = [{"leaf": f"{draw.normal(5):.1f}", "petal": f"{draw.normal(2):.1f}", "class": "xyz"[k % 3]} for k in range(90)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINTAGE_CACHE", str(folder / "cache"))
        wish = Wish(str(write(folder / "flowers.csv", rows)), minutes=0.05, options=("steps=2",))
        yield train(wish, str(folder / "runs")).run


def asked(cli, run, *args):
    """Rows that the command line makes, and what it says."""
    code, out, err = cli("generate", run, "--json", *args)
    return back(json.loads(out)["paths"][0]) if code == 0 else [], err


def test_a_file_is_told_from_a_class(flowers, cli, tmp_path):
    (tmp_path / "a=b.csv").write_text("leaf,class\n5.5,x\n,z\n4.5,\n", encoding="utf-8")
    rows, err = asked(cli, flowers, "--given", tmp_path / "a=b.csv", "--out", tmp_path)
    assert (rows[0]["leaf"], rows[0]["class"]) == ("5.5", "x"), err
    assert rows[1]["class"] == "z"
    assert rows[2]["leaf"] == "4.5"
    for bare in ("class=y", "y"):
        rows, err = asked(cli, flowers, "-n", 2, "--given", bare, "--out", tmp_path)
        assert [row["class"] for row in rows] == ["y", "y"], err
    assert "nobody.csv: there is no such file" in asked(cli, flowers, "--given", "nobody.csv")[1]


def test_a_bare_value_that_is_no_file_is_explained(run, cli):
    err = asked(cli, run, "--given", "foo")[1]
    assert "--given foo: write NAME=VALUE, or name a file of rows" in err


@pytest.mark.parametrize(
    "holes", ["leaf,petal,class\n5.5,,x\n", "leaf,petal,class\n5.5,,x\n,,\n\n,2.5,\n", "leaf,petal,class\n,,\n6.5,,y\n"]
)
def test_each_row_of_a_file_is_made_once_in_its_place(flowers, cli, tmp_path, holes):
    (tmp_path / "holes.csv").write_text(holes, encoding="utf-8")
    given = [line.split(",") for line in holes.splitlines()[1:] if line]
    rows, err = asked(cli, flowers, "--given", tmp_path / "holes.csv", "--out", tmp_path)
    assert len(rows) == len(given), err
    for row, cells in zip(rows, given, strict=True):
        assert all(cell in ("", own) for cell, own in zip(cells, row.values(), strict=True))
        assert all(row.values())


def test_columns_that_are_left_out_are_named(flowers, cli, tmp_path):
    (tmp_path / "more.csv").write_text("leaf,price,class\n5.5,3,x\n4.5,4,\n", encoding="utf-8")
    rows, err = asked(cli, flowers, "--given", tmp_path / "more.csv", "--out", tmp_path)
    assert len(rows) == 2
    assert "does not make price" in err


@pytest.mark.parametrize(("text", "why"), [("5.5,,x\n4.5,x\n", "row 2 has 2 cells"), ("5.5,x\n4.5,,x\n", "row 1 has 2 cells")])
def test_a_ragged_row_of_a_file_to_complete_is_named(flowers, cli, tmp_path, text, why):
    (tmp_path / "holes.csv").write_text(f"leaf,petal,class\n{text}", encoding="utf-8")
    assert why in asked(cli, flowers, "--given", tmp_path / "holes.csv")[1]


def test_a_file_without_a_header_is_completed_without_one(tmp_path):
    (tmp_path / "plain.csv").write_text("".join(f"{'abc'[k % 3]},{'xy'[k % 2]}\n" for k in range(60)), encoding="utf-8")
    codec, _ = read(tmp_path / "plain.csv")
    assert not codec.head["header"]
    (tmp_path / "holes.csv").write_text("a,\n,y\n", encoding="utf-8")
    assert codec.known({"": str(tmp_path / "holes.csv")}, codec.views()["tokens"]).words == [{"column1": "a"}, {"column2": "y"}]
