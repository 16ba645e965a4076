"""CTGAN and TVAE (the package ctgan, Xu et al. 2019) on a CSV under a clock: the peers of the table benchmark.

Run: python benchmarks/peer_ctgan.py train.csv --model tvae --seconds 1200 --rows 30000 --out tvae.csv Its own defaults (300
epochs, batches of 500), or as many epochs as the seconds allow, judged by the first one; prints one line of JSON. It needs
ctgan, rdt and pandas in its Python, and nothing of Mintage.
"""

import argparse
import json
import time
import warnings

import numpy as np
import pandas as pd
import torch


def main():
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("--model", choices=("ctgan", "tvae"), default="tvae")
    parser.add_argument("--seconds", type=float, default=1200)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--out", default="peer.csv")
    args = parser.parse_args()
    from ctgan import CTGAN, TVAE

    torch.manual_seed(0)
    np.random.seed(0)
    kind = {"ctgan": CTGAN, "tvae": TVAE}[args.model]
    table = pd.read_csv(args.table, keep_default_na=False)
    named = [name for name in table if table[name].dtype.kind not in "if"]
    spent = []
    for epochs in (1, 1, 3):  # the very first one pays for imports and pools too
        begin = time.perf_counter()
        kind(epochs=epochs).fit(table, named)
        spent.append(time.perf_counter() - begin)
    epoch = max(1e-3, (spent[2] - spent[1]) / 2)
    epochs = int(max(1, min(300, (args.seconds - (spent[1] - epoch)) / epoch)))
    model = kind(epochs=epochs)
    begin = time.perf_counter()
    model.fit(table, named)
    trained, begin = time.perf_counter() - begin, time.perf_counter()
    made = model.sample(args.rows)
    drawn = time.perf_counter() - begin
    made.to_csv(args.out, index=False)
    print(json.dumps({"epochs": epochs, "trained": round(trained, 1), "drawn": round(drawn, 2)}))


if __name__ == "__main__":
    main()
