"""generate: from a model and a request to released files.

``draw`` makes unmarked content in memory (evaluation, previews and cascades use it); ``generate`` turns it into files
that have passed the release gates. Sample k of seed s is the sample of seed s + k: samplers run in chunks of a constant
row count and every row has its own noise, so it has the same content alone, among others and after a restart.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from mintage import trust
from mintage.core.errors import RefusedError, UsageError
from mintage.core.events import Event, On, ignore
from mintage.core.protocols import Codec
from mintage.core.spec import Cond, Media, Sample
from mintage.core.store import content_hash
from mintage.core.words import say
from mintage.nn.noise import Noise
from mintage.verbs.asking import asked_words, completed, name_given, request
from mintage.verbs.load import Loaded, load

SAMPLES = 16  # where nobody says how many
MAX_SAMPLES = 1_000_000


@dataclass(frozen=True)
class Made:
    """What ``generate`` made.

    Attributes:
        paths: Files, in the order of the seeds.
        hashes: Content hash of each sample (pixels or text, without labels).
        seconds: Seconds of sampling, without writing.
        refused: Sentences of the release gates about samples that were held back.
    """

    paths: tuple[Path, ...]
    hashes: tuple[str, ...]
    seconds: float
    refused: tuple[str, ...] = ()


@contextmanager
def steady(threads: int) -> Iterator[None]:
    """Sample at the thread count of the card, without gradients."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode(), threadpool_limits(1, "blas"):  # numpy's own threads would wait for each other
            yield
    finally:
        torch.set_num_threads(before)


def _rows(cond: Cond, rows: Tensor) -> dict[str, Tensor]:
    return {name: values[rows] for name, values in cond.items()}


def draw(
    loaded: Loaded,
    n: int,
    seed: int = 0,
    cond: Cond | None = None,
    sketch: bool = False,
    knobs: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
) -> Tensor:
    """Unmarked content in model form, chunk by chunk. [n, ...]

    Args:
        loaded: The model.
        n: How many.
        seed: Seed of the first; sample k has seed + k.
        cond: Conditions, one row a sample; without a class and a caption, each sample's seed chooses one of the data's.
        sketch: Draw from the baseline instead.
        knobs: Sampler settings.
        seeds: The samples' own seeds, in place of ``seed``.
    """
    seeds = list(range(seed, seed + n)) if seeds is None else list(seeds)
    model, (cond, skip) = loaded.sketch if sketch else loaded.model, opened(loaded, completed(loaded, cond or {}, seeds), n)
    parts: list[Tensor] = []
    with steady(loaded.recipe.threads):
        for start in range(0, n, loaded.chunk):
            for partial in _chunk(loaded, model, cond, seeds, start, knobs or {}):
                last = partial
            parts.append(last[: n - start, skip:] if skip else last[: n - start])
    return _stack(parts)


def opened(loaded: Loaded, cond: dict[str, Tensor], n: int) -> tuple[dict[str, Tensor], int]:
    """A sample of a long text that nobody began starts at a line: the condition with that beginning, and its length."""
    opening = getattr(loaded.codec, "opening", "")
    if not opening or "prompt" in cond:
        return cond, 0
    row = loaded.codec.encode([opening], loaded.recipe.target.at(token=0))[:, 1:-1].long()  # without bos and eos
    return {**cond, "prompt": row.expand(n, -1)}, row.shape[1]


def _stack(parts: Sequence[Tensor]) -> Tensor:
    """Chunks of texts may differ in length: pad to the longest."""
    longest = max(part.shape[1] for part in parts)
    if parts[0].dtype == torch.int64 and any(part.shape[1] != longest for part in parts):
        parts = [torch.nn.functional.pad(part, (0, longest - part.shape[1])) for part in parts]
    return torch.cat(list(parts))


def _chunk(loaded: Loaded, model: Any, cond: Cond, seeds: Sequence[int], start: int, knobs: Mapping[str, Any]) -> Iterator[Tensor]:
    """One constant-size sampler call; the rows past the last sample repeat it and are dropped by the caller."""
    at = torch.arange(start, start + loaded.chunk).clamp(max=len(seeds) - 1)
    own = [seeds[i] for i in at.tolist()]
    knobs = {"dtype": loaded.recipe.dtype, **knobs} if getattr(model, "halves", False) else knobs
    asked = loaded.task.ask(_rows(cond, at), knobs)
    if longest := getattr(loaded.codec, "length", 0):  # a whole tune is longer than what its model was trained on
        knobs = {"length": longest, **knobs}
    if "prompt" in cond and hasattr(loaded.codec, "misfits"):
        knobs = {**knobs, "forbid": (*knobs.get("forbid", ()), *loaded.codec.misfits(cond["prompt"][0]))}
    if forbidden := getattr(loaded.codec, "forbid", ()):
        knobs = {**knobs, "forbid": (*knobs.get("forbid", ()), *forbidden)}
    for partial in model.sample(asked, Noise.rows_of(own), knobs):
        yield loaded.task.compose(partial, asked)


def _story(loaded: Loaded, knobs: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a label says about the model."""
    return {**loaded.card, "name": loaded.run.path.name, "model_hash": loaded.model_hash, "knobs": dict(knobs or {})}


def send_out(
    loaded: Loaded,
    samples: Sequence[Sample],
    level: Literal["view", "file"],
    out: Path | None = None,
    knobs: Mapping[str, Any] | None = None,
    others: Sequence[Loaded] = (),
) -> tuple[list[Any], list[str]]:
    """The one way out: every sample that leaves passes here, as a view (samples) or as files (paths), with what was held back.

    ``others`` are the further members of a mixture: nothing may be a copy of their training items either.
    """
    index = [member.run.index for member in (loaded, *others)]
    left: Any = trust.release(samples, level, _story(loaded, knobs), index, out, loaded.codec)
    return (left, []) if level == "view" else left


def as_samples(loaded: Loaded, x: Tensor, seeds: Sequence[int], given: Sequence[Mapping[str, str]]) -> list[Sample]:
    """Decoded content with its hash and its story."""
    target, codec = loaded.recipe.target, loaded.codec
    rough = {"noise": Noise.rows_of(seeds).fork("rough")} if getattr(codec, "rough", False) else {}
    media = codec.decode(x, target, **rough)
    media = codec.kept(media, given) if hasattr(codec, "kept") else media
    made = [Sample(m, seed, content_hash(m.content), dict(g)) for m, seed, g in zip(media, seeds, given, strict=True)]
    if target.kind == "grid":
        return [replace(sample, grid=row) for sample, row in zip(made, x, strict=True)]
    return [replace(sample, passage=text) for sample, text in zip(made, loaded.codec.passages(x, target), strict=True)]


def members_of(names: Sequence[str], runs: str = "") -> list[Loaded]:
    """The members of a mixture, or the one model.

    Raises:
        RefusedError: They do not make the same kind of thing.
    """
    members = [load(name, runs) for name in names]
    first = members[0].recipe
    for name, member in zip(names, members, strict=True):
        own = member.recipe
        if own.modality != first.modality or (own.target.kind == "grid" and own.target.shape != first.target.shape):
            sizes = ["×".join(map(str, recipe.target.shape)) for recipe in (own, first)]
            sentence = (
                "--with {name} makes {medium} of {size}, and {first} {other} of {as_first}; mix models of one medium and size."
            )
            raise RefusedError(say(sentence, name=name, medium=own.modality, size=sizes[0], first=names[0],
                                   other=first.modality, as_first=sizes[1]))  # fmt: skip
        if own.target.kind == "grid" and own.target.rate != first.target.rate:
            sentence = "--with {name} makes {rate} frames a second, and {first} {as_first}; mix models of one pace."
            paces = {"rate": f"{own.target.rate:g}", "as_first": f"{first.target.rate:g}"}
            raise RefusedError(say(sentence, name=name, first=names[0], **paces))
    return members


def maker_of(seeds: Sequence[int], count: int) -> list[int]:
    """Which member of a mixture makes each sample: its seed decides, apart from everything else that the seed decides."""
    return [int(Noise("mixture", seed).integers(0, count, (1,))) for seed in seeds] if count > 1 else [0] * len(seeds)


def generate(
    model: str,
    n: int | None = None,
    seed: int = 0,
    prompt: str = "",
    given: Mapping[str, str] | None = None,
    out: Path | None = None,
    options: Sequence[str] = (),
    runs: str = "",
    on: On = ignore,
    mixed: Sequence[str] = (),
) -> Made:
    """Make ``n`` samples and release them as labelled files.

    Args:
        model: A run's folder, its name, or a model folder.
        n: How many; if None 16, or as many as the file of rows to complete has.
        seed: Seed of the first; sample k has seed + k.
        prompt: Beginning of a text, or a caption.
        given: Conditions by name, as text; without a name (``""``) a class, or the path of a file of rows to complete.
        out: Folder for the files; the run's ``outputs`` if None.
        options: Sampler settings as ``key=value``.
        runs: Folder of runs.
        on: Listener of progress; hears a text grow while it is written when n is 1.
        mixed: Further models: each sample's seed chooses which one makes it, all equally often.

    Raises:
        UsageError: Unknown model, condition, class or setting.
        RefusedError: What was asked for is not made, or models of different media or sizes were mixed.
        StoreError: Damaged model folder, or no room to write.
    """
    if n is not None and not 1 <= n <= MAX_SAMPLES:
        raise UsageError(say("-n {n}: choose from 1 to {most}.", n=n, most=MAX_SAMPLES))
    members = members_of([model, *mixed], runs)
    loaded, samples, seconds = members[0], list[Sample](), 0.0
    asked = [name_given(member, given or {}, prompt) for member in members]
    ruling = next((r for words in asked if not (r := trust.screen(words)).admitted), None)
    if ruling is not None:
        raise RefusedError(ruling.reason)
    ready = [request(member, words, options) for member, words in zip(members, asked, strict=True)]
    n = n or (len(ready[0].words) if ready[0].whole else SAMPLES)
    for note in ready[0].notes:
        on(Event("warning", "generate", note))
    makers = maker_of(range(seed, seed + n), len(members))
    for k, (member, own_request) in enumerate(zip(members, ready, strict=True)):
        knobs = own_request.knobs
        seeds = [own for own, maker in zip(range(seed, seed + n), makers, strict=True) if maker == k]
        if not seeds:
            continue
        at = torch.tensor([(own - seed) % len(own_request.words) for own in seeds])
        cond, words = _rows(own_request.cond, at), [own_request.words[i] for i in at.tolist()]
        begin = time.perf_counter()
        x = (
            _streamed(member, cond, seeds[0], knobs, on)
            if n == 1
            else draw(member, len(seeds), cond=cond, knobs=knobs, seeds=seeds)
        )
        seconds += time.perf_counter() - begin
        made = as_samples(member, x, seeds, asked_words(member, words, seeds))
        samples += [replace(sample, model=_story(member, own_request.told)) for sample in made] if k else made
    samples.sort(key=lambda sample: sample.seed)
    paths, held = send_out(loaded, samples, "file", out or loaded.run.outputs, ready[0].told, members[1:])
    for sentence in held:
        on(Event("warning", "generate", sentence))
    named = {sample.name: sample for sample in samples}  # what was held back has no file, a sheet no seed
    for path in paths:
        sample = named.get(path.stem)
        if sample:
            on(Event("sample", "generate", "", {"path": str(path), "seed": sample.seed, "hash": sample.content_hash}))
    if own := [sample.given["caption"] for sample in samples[:SAMPLES] if "caption" in sample.given and not asked[0]]:
        on(Event("done", "generate", say("Asked for captions of the data, in this order: {captions}.", captions=" · ".join(own))))
    on(
        Event(
            "done",
            "generate",
            say("{n} made in {ms} ms each.", n=n, ms=round(seconds / n * 1000, 2)),
            {"seconds": seconds},
        )
    )
    return Made(tuple(paths), tuple(s.content_hash for s in samples), seconds, tuple(held))


def _streamed(loaded: Loaded, cond: Cond, seed: int, knobs: Mapping[str, Any], on: On) -> Tensor:
    """One sample, telling the listener as it grows."""
    cond, skip = opened(loaded, completed(loaded, cond, [seed]), 1)
    listening = loaded.recipe.target.kind == "tokens" and on is not ignore
    with steady(loaded.recipe.threads):
        for partial in _chunk(loaded, loaded.model, cond, [seed], 0, knobs):
            x = partial[:1, skip:] if skip else partial[:1]
            if listening:
                views, _ = send_out(loaded, as_samples(loaded, x, [seed], [{}]), "view")
                if views:
                    on(Event("preview", "generate", "", {"text": text_of(views[0].media)}))
    return x


def read_out(codec: Codec, media: Media) -> str:
    """How a thing that is no picture reads on a page."""
    return str(codec.words(media) if hasattr(codec, "words") else media.content)


def text_of(media: Media) -> str:
    """The text of a text; empty for other media."""
    return media.content if isinstance(media.content, str) else ""
