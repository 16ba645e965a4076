"""The text table: nats a character on the last tenth of a text, decoding speed, and the same text with and without cache.

    python benchmarks/text.py score RUN input.txt        # sliding windows, each token with at least half a context before it
    python benchmarks/text.py speed RUN                  # characters a second, one stream
    python benchmarks/text.py cache RUN                  # 20 seeds x 500 characters, fp32

Every character of the last tenth is scored once; a token's nats are shared among its characters by counting characters.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from mintage.nn.noise import Noise
from mintage.verbs.generate import draw, steady
from mintage.verbs.load import Loaded, load


def nats_a_character(loaded: Loaded, text: str, network_only: bool = False) -> float:
    """Mean nats a character of ``text`` under the model."""
    span = loaded.recipe.target.shape[0]
    ids = loaded.codec.encode([text], loaded.recipe.target.at(token=0))[0, 1:-1].long()
    total, half = 0.0, span // 2
    with torch.inference_mode():
        for start in range(0, len(ids), half * 64):
            rows, skips = [], []
            for at in range(start, min(start + half * 64, len(ids)), half):
                lead = min(at, half)
                row = ids[at - lead : at + half]
                rows.append(torch.nn.functional.pad(row, (0, span - len(row))))
                skips.append((lead, len(row)))
            x = torch.stack(rows)
            found = loaded.model.network_log_prob(x, {}) if network_only else loaded.model.token_log_prob(x, {})
            for row, (lead, size) in zip(found, skips, strict=True):
                total -= float(row[max(0, lead - 1) : size - 1].sum())
    return total / len(text)


def speed(loaded: Loaded, length: int = 2000) -> float:
    """Characters a second of one stream."""
    draw(loaded, 1, seed=1, knobs={"length": 200})
    begin = time.perf_counter()
    x = draw(loaded, 1, seed=2, knobs={"length": length})
    seconds = time.perf_counter() - begin
    return len(loaded.codec.decode(x, loaded.recipe.target)[0].content) / seconds


def agree(loaded: Loaded, seeds: int = 20, length: int = 500) -> int:
    """How many of ``seeds`` texts are the same with and without the cache."""
    same = 0
    with steady(loaded.recipe.threads):
        for seed in range(seeds):
            texts = []
            for cache in (True, False):
                for x in loaded.model.sample({}, Noise.rows_of([seed]), {"length": length, "cache": cache}):
                    last = x
                texts.append(last.tolist())
            same += texts[0] == texts[1]
    return same


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["score", "speed", "cache"])
    parser.add_argument("run")
    parser.add_argument("text", nargs="?", default="")
    args = parser.parse_args()
    loaded = load(args.run)
    if args.what == "score":
        text = Path(args.text).read_text(encoding="utf-8")
        held = text[len(text) - len(text) // 10 :]
        whole, alone = (nats_a_character(loaded, held, only) for only in (False, True))
        print(f"{whole:.4f} nats a character; {alone:.4f} by the network alone")
    elif args.what == "speed":
        print(f"{sorted(speed(loaded) for _ in range(5))[2]:.0f} characters a second, median of 5")
    else:
        print(f"{agree(loaded)} of 20 texts of 500 characters are the same with and without the cache")


if __name__ == "__main__":
    main()
