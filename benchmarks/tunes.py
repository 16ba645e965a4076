"""The music table: likelihood beside the n-gram sketch, valid files, metre of continuations, and counts beside held-out tunes.

    python benchmarks/tunes.py FOLDER --family gpt --minutes 5     # trains, then judges
    python benchmarks/tunes.py FOLDER --run RUN                    # judges a run there is

Held-out tunes are the product's own test split. A continuation begins with the first eight bars of a held-out tune. What is made as
tokens is compared with as many tokens from the beginning of held-out tunes; rolls with rolls. ``page.png`` beside the run shows
held-out tunes above made ones: numbers do not say what is worth listening to.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import symusic
import torch
from PIL import Image

from mintage.metrics.likelihood import Passage, nats
from mintage.metrics.repetition import grams, repeated
from mintage.nn import midi, traits
from mintage.nn.pictures import contact_sheet
from mintage.nn.tune import Tune, bars, classes, excerpt, keys, metre, notes
from mintage.verbs.dataset import as_model
from mintage.verbs.evaluate import bench_of
from mintage.verbs.evidence import Bench
from mintage.verbs.generate import draw
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

LENGTH, MADE, BEGUN, BARS = 400, 60, 30, 8


def likelihood(bench: Bench) -> dict[str, float]:
    """Nats a token and a note of whole held-out tunes, and the tune-by-tune gain over the sketch."""
    model, sketch, span = bench.loaded.model, bench.loaded.sketch, bench.recipe.target.shape[0]
    rows = [torch.from_numpy(ids.astype(np.int64)) for ids in bench.dataset.documents("test")][:BEGUN]
    passages = [Passage(row, 0, len(row) - 1, len(row) - 1, {}) for row in rows]
    tokens = torch.tensor([len(row) - 1 for row in rows]).double()
    count = sum(len(text) for text in bench.spelled(torch.nn.utils.rnn.pad_sequence(rows, True)))
    own, other = nats(model, passages, span), nats(sketch, passages, 512)
    gain = (other - own) / tokens
    return {
        "tunes": len(rows),
        "nats a token": float(own.sum() / tokens.sum()),
        "sketch": float(other.sum() / tokens.sum()),
        "nats a note": float(own.sum()) / count,
        "sketch, a note": float(other.sum()) / count,
        "less than the sketch": float(1 - own.sum() / other.sum()),
        "worst tune's gain": float(gain.min()),
    }


def valid(made: Sequence[Tune]) -> float:
    """Share whose file parses, with every note inside the ranges and ended before its pitch is struck again."""
    good = 0
    for tune in made:
        score = symusic.Score.from_midi(midi.write(tune, "AI"))
        fine = np.array_equal(midi.read(midi.write(tune, "AI"), empty=True), tune)
        for track in score.tracks:
            own = track.notes.numpy()
            order = np.lexsort((own["time"], own["pitch"]))
            same = np.diff(own["pitch"][order]) == 0
            free = own["time"][order][1:] >= (own["time"] + own["duration"])[order][:-1]
            fine &= bool((own["duration"] > 0).all() and (own["pitch"] >= 0).all() and free[same].all())
        good += fine
    return good / max(1, len(made))


def counts(made: Sequence[Tune], real: Sequence[Tune]) -> dict[str, Any]:
    """What is counted of both, and what their histograms share."""
    found: dict[str, Any] = {}
    for name, trait in (("pitch classes a bar", lambda t: traits.used(t).mean()), ("bar self-similarity", traits.likeness),
                        ("tonal distance between voices", traits.apart)):  # fmt: skip
        found[name] = [float(np.nanmean([trait(t) for t in side if len(t)] or [np.nan])) for side in (made, real)]
    silent = [np.array([traits.silent(t) for t in side if len(t)]).sum(0) for side in (made, real)]
    found["empty bars"] = [float(a / b) for a, b in silent]
    for name, trait in (("pitch classes", classes), ("intervals", traits.steps), ("durations", traits.lengths)):
        a, b = (sum(trait(t) for t in side) for side in (made, real))
        found[f"overlap of {name}"] = float(np.minimum(a / a.sum(), b / b.sum()).sum())
    fit = [np.array([classes(t) for t in side if len(t)]) for side in (made, real)]
    found["notes in the scale of the tune's key"] = [float(np.mean([_inside(h) for h in side])) for side in fit]
    return found


def _inside(histogram: np.ndarray) -> float:
    """Share of the time that notes of the likeliest key's scale sound; minor with both sevenths."""
    key = int(keys(histogram[None])[0])
    scale = (0, 2, 4, 5, 7, 9, 11) if key < 12 else (0, 2, 3, 5, 7, 8, 10, 11)
    return float(histogram[[(key + step) % 12 for step in scale]].sum() / max(1e-9, histogram.sum()))


def continued(bench: Bench, tunes: Sequence[Tune]) -> dict[str, float]:
    """Of what follows the first bars of held-out tunes: bars in the metre of those, bars at all."""
    codec, kept, total = bench.loaded.codec, 0, 0
    for seed, tune in enumerate(tunes):
        prompt = codec.encode([excerpt(tune, 0, BARS)], bench.recipe.target.at(token=0))[:, :-1].long()
        x = draw(bench.loaded, 1, seed, {"prompt": prompt}, knobs={"length": 160})
        after = bars(codec.decode(x, bench.recipe.target)[0].content)[BARS:]
        kept += sum(tuple(bar) == metre(tune) for bar in after[:, [3, 4]].tolist())
        total += len(after)
    return {"bars": total, "in the metre of the tune": kept / max(1, total)}


def judge(bench: Bench) -> dict[str, Any]:
    """All numbers of a run, and the page."""
    codec, target = bench.loaded.codec, bench.recipe.target
    if target.kind == "grid":
        stored = torch.from_numpy(np.array(bench.dataset.parts["test"].data[:200]))
        real, x = as_model(stored, target), draw(bench.loaded, 4 * MADE, 1)
        base = draw(bench.loaded, 4 * MADE, 1, sketch=True)
    else:
        rows = [torch.from_numpy(ids[:LENGTH].astype(np.int64)) for ids in bench.dataset.documents("test")]
        real = torch.nn.utils.rnn.pad_sequence(rows, True)
        x = draw(replace(bench.loaded, chunk=8), MADE, 1, knobs={"length": LENGTH - 1})
        base = draw(bench.loaded, MADE, 1, sketch=True, knobs={"length": LENGTH - 1})
    made, held, plain = ([m.content for m in codec.decode(rows, target)] for rows in (x, real, base))
    shown = (
        [codec.look(media) for media in codec.decode(torch.cat([real[:8, : x.shape[1]], x[:8, : real.shape[1]]]), target)]
        if (target.kind == "grid")
        else [codec.look(media) for rows in (real[:3], x[:5]) for media in codec.decode(rows, target)]
    )
    Image.fromarray(contact_sheet(shown)).save(bench.loaded.run.path / "page.png")
    found: dict[str, Any] = {
        "valid files": valid(made), "notes a tune": [float(np.mean([len(notes(t)) for t in side])) for side in (made, held)],
        "made and held out": counts(made, held), "sketch and held out": counts(plain, held),
    }  # fmt: skip
    if target.kind == "tokens":
        found["repeated eight-grams"] = [float(repeated(grams(rows, 8)).mean()) for rows in (x, real)]
        found["ended by themselves"] = [float((rows == 2).any(1).float().mean()) for rows in (x, real)]
        if hasattr(bench.loaded.model, "log_prob"):
            found["likelihood"] = likelihood(bench)
        wholes = [
            codec.decode(torch.from_numpy(ids.astype(np.int64))[None], target)[0].content for ids in bench.dataset.documents("test")
        ]
        if bench.recipe.family in ("gpt", "rnn"):
            found["continuations"] = continued(bench, [tune for tune in wholes if len(bars(tune)) > 2 * BARS][:BEGUN])
    return found


def main() -> None:
    """Train if no run is named, judge, print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--family", default="gpt")
    parser.add_argument("--run", default="")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("-o", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--runs", type=Path, default=Path("bench-runs"))
    args = parser.parse_args()
    run = args.run
    if not run:
        wish = Wish(str(args.data), args.family, minutes=args.minutes, options=tuple(args.o))
        run = str(train(wish, runs=str(args.runs)).run)
    torch.set_num_threads(1)
    print(json.dumps(judge(bench_of(run)), indent=1))


if __name__ == "__main__":
    main()
