"""Tables judged from outside, beside peers: what trees learn from made rows, whether they tell them, what is copied, the time.

    python benchmarks/tables.py adult ADULT_FOLDER                   # one minute of training, then the judge
    python benchmarks/tables.py adult ADULT_FOLDER --run RUN         # judges a run there is
    python benchmarks/tables.py adult ADULT_FOLDER --peers PYTHON    # also CTGAN and TVAE, by a Python that has ctgan
    python benchmarks/tables.py blanks ADULT_FOLDER --run RUN        # fills cells hidden in the test file
    python benchmarks/tables.py small --minutes 0.5                  # four other tables: schema and verdict

The judge is scikit-learn's histogram gradient boosting on the raw cells of the CSV files, with 200 rounds and early stopping,
fitted on made rows (and on real training rows, for the ceiling) and asked about the real test file. Two-sample: the same
learner tells made from test rows, half to learn and half to judge. Exact: rows equal in every cell to a training row, beside
the rate of the test file. Blanks: a fifth of the cells of 2,000 test rows are hidden and filled twenty times; the most frequent
filling (of numbers the mean) is compared with the mode (the mean) of the training column.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from mintage.verbs.generate import generate
from mintage.verbs.inspect import inspect
from mintage.verbs.make import make
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

ROWS = 30_000
NUMBERS = {"age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week"}


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    with open(path, newline="", encoding="utf-8") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    return rows[0], rows[1:]


class Judge:
    """Knows the real files; reads any other with the same columns."""

    def __init__(self, folder: Path) -> None:
        self.head, self.train = read(folder / "train.csv")
        _, self.test = read(folder / "test.csv")
        self.codes = [
            None if name in NUMBERS else {v: i for i, v in enumerate(sorted({row[k] for row in self.train}))}
            for k, name in enumerate(self.head)
        ]
        self.known = {tuple(row) for row in self.train}
        self.real = self.utility(self.train)

    def numbers(self, rows: list[list[str]]) -> np.ndarray:
        def one(k: int, cell: str) -> float:
            codes = self.codes[k]
            try:
                return codes.get(cell, np.nan) if codes is not None else float(cell)
            except ValueError:
                return np.nan

        return np.array([[one(k, cell) for k, cell in enumerate(row)] for row in rows])

    def learner(self, columns: int) -> HistGradientBoostingClassifier:
        named = [codes is not None for codes in self.codes[:columns]]
        return HistGradientBoostingClassifier(max_iter=200, early_stopping=True, random_state=0, categorical_features=named)

    def utility(self, rows: list[list[str]]) -> float:
        made, test = self.numbers(rows), self.numbers(self.test)
        fitted = self.learner(made.shape[1] - 1).fit(made[:, :-1], made[:, -1])
        return float(roc_auc_score(test[:, -1], fitted.predict_proba(test[:, :-1])[:, 1]))

    def told(self, rows: list[list[str]], seed: int = 0) -> float:
        draw, n = np.random.default_rng(seed), min(len(rows), len(self.test))
        made, test = (self.numbers(part)[draw.permutation(len(part))[:n]] for part in (rows, self.test))
        x, y, order = np.concatenate([made, test]), np.repeat([1, 0], n), draw.permutation(2 * n)
        learn, ask = order[:n], order[n:]
        fitted = self.learner(x.shape[1]).fit(x[learn], y[learn])
        return float(roc_auc_score(y[ask], fitted.predict_proba(x[ask])[:, 1]))

    def exact(self, rows: list[list[str]]) -> float:
        return float(np.mean([tuple(row) in self.known for row in rows]))

    def __call__(self, path: Path) -> dict[str, float]:
        head, rows = read(path)
        order = [head.index(name) for name in self.head]
        rows = [[row[k] for k in order] for row in rows]
        return {"utility": self.utility(rows), "told": self.told(rows), "exact": self.exact(rows)}


def line(name: str, found: dict[str, float], trained: float, drawn: float) -> None:
    print(
        f"{name:16} AUC {found['utility']:.4f}  two-sample {found['told']:.3f}  exact {found['exact']:.5f}"
        f"  trained {trained:.0f} s  {ROWS:,} rows in {drawn:.1f} s",
        flush=True,
    )


def adult(args: argparse.Namespace) -> None:
    folder, runs = Path(args.folder), Path(args.runs)
    judge = Judge(folder)
    print(f"real training rows: AUC {judge.real:.4f}; test rows found in training: {judge.exact(judge.test):.5f}", flush=True)
    begin = time.perf_counter()
    run = Path(args.run) if args.run else train(Wish(str(folder), minutes=args.minutes, seed=args.seed), str(runs)).run
    trained = time.perf_counter() - begin
    made = generate(str(run), ROWS, out=runs / "made")
    line("mintage masked", judge(made.paths[0]), trained, made.seconds)
    for name in ("tvae", "ctgan") if args.peers else ():
        out = runs / f"{name}.csv"
        command = [args.peers, str(Path(__file__).with_name("peer_ctgan.py")), str(folder / "train.csv"), "--model", name]
        limit = ["--seconds", str(args.limit or 20 * 60 * args.minutes), "--rows", str(ROWS), "--out", str(out)]
        told = subprocess.run([*command, *limit], check=True, stdout=subprocess.PIPE, text=True).stdout
        facts = json.loads(told.strip().splitlines()[-1])
        line(f"{name}, {facts['epochs']} ep.", judge(out), facts["trained"], facts["drawn"])


def blanks(args: argparse.Namespace, share: float = 0.2, rows: int = 2_000, times: int = 20) -> None:
    folder, runs = Path(args.folder), Path(args.runs)
    runs.mkdir(parents=True, exist_ok=True)
    judge, random = Judge(folder), np.random.default_rng(args.seed)
    run = args.run or str(train(Wish(str(folder), minutes=args.minutes, seed=args.seed), str(runs)).run)
    truth, hidden = judge.test[:rows], random.random((rows, len(judge.head))) < share
    absent = np.array([[cell == "?" for cell in row] for row in truth])  # in the file itself
    with open(runs / "holes.csv", "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(judge.head)
        out.writerows(
            [["" if hide else cell for cell, hide in zip(*pair, strict=True)] for pair in zip(truth, hidden, strict=True)]
        )
    made = generate(run, times * rows, given={"": str(runs / "holes.csv")}, out=runs / "filled")
    head, filled = read(made.paths[0])
    assert len(filled) == times * rows, made.refused
    filled = [[row[head.index(name)] for name in judge.head] for row in filled]
    kept = all(
        filled[k][c] == truth[k % rows][c]
        for k in range(len(filled))
        for c in range(len(head))
        if not hidden[k % rows, c] and not absent[k % rows, c]
    )
    print(f"{len(filled):,} rows filled in {made.seconds:.1f} s; cells that stood there kept as they are: {kept}")
    for c, name in enumerate(judge.head):
        at = np.flatnonzero(hidden[:, c] & ~absent[:, c])
        column, own = [row[c] for row in judge.train], [[filled[t * rows + k][c] for t in range(times)] for k in at]
        asked = [truth[k][c] for k in at]
        legal = np.mean([cell in set(column) for cells in own for cell in cells])
        if name in NUMBERS:
            values, right = np.array(own, float), np.array(asked, float)
            numbers = np.array(column, float)
            errors = [float(np.sqrt(np.mean((guess - right) ** 2))) for guess in (values.mean(1), numbers.mean())]
            inside = np.mean((values >= numbers.min()) & (values <= numbers.max()))
            print(
                f"{name:16} root mean square error {errors[0]:10.1f}, the mean's {errors[1]:10.1f}; inside the range {inside:.1%}"
            )
        else:
            mode = max(set(column), key=column.count)
            guess = [max(cells, key=cells.count) for cells in own]
            shares = [np.mean([a == b for a, b in zip(each, asked, strict=True)]) for each in (guess, [mode] * len(asked))]
            print(f"{name:16} right {shares[0]:7.1%}, the mode {shares[1]:7.1%}; known values {legal:.1%}")


def everything(path: Path, n: int = 2_000) -> None:
    """Serial numbers, codes, holes, dates, a constant; income follows age and town, and is missing more in one town."""
    draw = np.random.default_rng(0)
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["id", "code", "age", "town", "income", "since", "country", "member"])
        for k in range(n):
            age, town = int(draw.integers(18, 80)), str(draw.choice(["Ulm", "Bonn", "Kiel"], p=[0.6, 0.3, 0.1]))
            income = 900 * age + 9000 * (town == "Kiel") + draw.normal(0, 4000)
            hole = draw.random() < (0.4 if town == "Bonn" else 0.1)
            since = np.datetime64("2015-01-01") + int(draw.integers(0, 2000))
            member = "yes" if income + draw.normal(0, 8000) > 45_000 else "no"
            out.writerow([1000 + k, f"AB-{k * 7:05d}", age, town, "NA" if hole else f"{income:.2f}", since, "DE", member])


def small(args: argparse.Namespace) -> None:
    """What is made of tables of other shapes."""
    runs = Path(args.runs)
    runs.mkdir(parents=True, exist_ok=True)
    names = ["wine"]
    for load in (load_diabetes, load_breast_cancer):
        names.append(str(runs / f"{load.__name__.removeprefix('load_')}.csv"))
        found = load(**({"scaled": False} if load is load_diabetes else {}))
        np.savetxt(
            names[-1],
            np.column_stack([found.data, found.target]),
            "%.6g",
            ",",
            header=",".join([*found.feature_names, "target"]),
            comments="",
        )
    names.append(str(runs / "everything.csv"))
    everything(Path(names[-1]))
    for name in names:
        found = inspect(name)
        kinds = ", ".join(f"{guess.name} {guess.value.split(':')[0].split(',')[0]}" for guess in found.guesses[1:-1])
        made = make(name, args.minutes, seed=args.seed, runs=str(runs))
        verdict = made.report.verdict
        print(f"{Path(name).name}: {kinds}\n  {verdict.word.upper()}. {verdict.reason} {verdict.next_step}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=("adult", "blanks", "small"))
    parser.add_argument("folder", nargs="?", default="")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--run", default="")
    parser.add_argument("--peers", default="", help="a Python that has ctgan")
    parser.add_argument("--limit", type=float, default=0, help="seconds for each peer; 20 times ours if 0")
    args = parser.parse_args()
    {"adult": adult, "blanks": blanks, "small": small}[args.case](args)


if __name__ == "__main__":
    main()
