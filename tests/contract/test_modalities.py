"""The contract of a codec, for every modality (also those in MINTAGE_PLUGINS), and of every family on each of its views.

Files become items, contents and tensors, and tensors become files that read back as what was made; what was learned
survives JSON; bad files are named and never break anything; a family takes a view or says in a sentence why not.
"""

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import pytest
import specimens
import torch

from mintage.core import registry
from mintage.core.errors import BadItem
from mintage.core.protocols import Looks, Plays
from mintage.core.spec import Batch
from mintage.core.store import content_hash
from mintage.nn.noise import Noise
from mintage.nn.trainer import Clock, Trainer, Training

PLUGINS = str(Path(__file__).parents[1] / "plugins")
ROWS = 4
with pytest.MonkeyPatch.context() as patch:
    patch.setenv("MINTAGE_PLUGINS", PLUGINS)
    MEDIA, FAMILIES = registry.names("modalities"), registry.names("families")
    VIEWS = {name: list(registry.get("modalities", name)().views()) for name in MEDIA}


@pytest.fixture(autouse=True)
def _plugins(monkeypatch):
    monkeypatch.setenv("MINTAGE_PLUGINS", PLUGINS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The files of every medium, made once."""
    made = {}
    for name in MEDIA:
        made[name] = tmp_path_factory.mktemp(name)
        getattr(specimens, name)(made[name])
    return made


def read(codec, folder):
    """Items and contents of all files, as the verbs read them."""
    items = [item for path in sorted(folder.iterdir()) for item in codec.items(path)]
    return items, [codec.read(item) for item in items]


def fitted(name, folder):
    codec = registry.get("modalities", name)()
    items, contents = read(codec, folder)
    codec.fit(contents, [item.given for item in items])
    return codec, contents


def sized(codec, view, contents):
    """The view at the size that a short training would take."""
    if hasattr(codec, "sized"):
        shapes = {}
        for content in contents:
            shape = () if isinstance(content, str) else content.shape
            shapes[shape] = shapes.get(shape, 0) + 1
        view = codec.sized(view, shapes, 0.5, "")
    return view.at(token=32) if view.kind == "tokens" else view


@pytest.mark.parametrize("name", MEDIA)
def test_what_was_learned_survives_json(name, folders):
    codec, contents = fitted(name, folders[name])
    assert len(contents) >= specimens.N
    other = registry.get("modalities", name)()
    other.restore(json.loads(json.dumps(codec.state)))
    assert set(other.views()) == set(codec.views())
    for key, view in codec.views().items():
        spec = sized(codec, view, contents)
        assert sized(other, other.views()[key], contents) == spec
        a, b = codec.encode(contents[:ROWS], spec), other.encode(contents[:ROWS], spec)
        assert torch.equal(a, b)
    prints = codec.fingerprint(contents)
    assert prints.dtype == np.uint8
    assert len(prints) == len(contents)
    assert np.array_equal(prints, codec.fingerprint(contents))


@pytest.mark.parametrize(("name", "key"), [(name, key) for name in MEDIA for key in VIEWS[name]])
def test_there_and_back(name, key, folders, tmp_path):
    codec, contents = fitted(name, folders[name])
    spec = sized(codec, codec.views()[key], contents)
    x = codec.encode(contents[:ROWS], spec)
    assert len(x) == ROWS
    if spec.kind == "grid":
        assert all(length > 0 for length in spec.shape), "after sized no axis is free"
        assert tuple(x.shape) == (ROWS, *spec.shape)
        assert x.dtype in (torch.uint8, torch.float32)
        x = x.float().div(127.5).sub(1) if x.dtype == torch.uint8 else x
        assert x.abs().max() <= 1 + 1e-5
    else:
        assert 0 <= int(x.min()) <= int(x.max()) < spec.vocab
        x = x.long()
        assert len(codec.passages(x, spec)) == ROWS
    media = codec.decode(x, spec)
    assert len(media) == ROWS
    again = codec.decode(x, spec)
    assert [content_hash(m.content) for m in media] == [content_hash(m.content) for m in again]
    paths = codec.write(media, tmp_path / "out", [f"made{k}" for k in range(ROWS)])
    assert 1 <= len(paths) <= ROWS
    assert all(path.suffix == media[0].suffix for path in paths)
    items = [item for path in paths for item in codec.items(path)]
    back = codec.encode([codec.read(item) for item in items], spec)
    assert tuple(back.shape[1:]) == tuple(x.shape[1:]) or spec.kind == "tokens"
    if isinstance(codec, Looks):
        seen = codec.look(media[0])
        assert seen.dtype == np.uint8
        assert seen.ndim in (2, 3)
    if isinstance(codec, Plays):
        mime, data = codec.play(media[0])
        assert mime.split("/")[0] in ("audio", "video", "image")
        assert len(data) > 100


@pytest.mark.parametrize("name", MEDIA)
def test_bad_files_are_named(name, folders, tmp_path):
    good = sorted(folders[name].iterdir())[0]
    data, draw = good.read_bytes(), np.random.default_rng(0)
    bad = {
        "empty": b"", "zeros": bytes(2000), "noise": draw.bytes(5000), "half": data[: len(data) // 2], "head": data[:20],
        "words": b"not what its name says\n" * 9, "doubled": data[:40] + data[:40] + data[40:],
    }  # fmt: skip
    for cut in np.linspace(1, len(data) - 1, 12).astype(int).tolist():
        bad[f"cut{cut}"] = data[:cut]
    for flip in draw.integers(0, min(len(data), 60), 8).tolist():
        bad[f"flip{flip}"] = data[:flip] + bytes((data[flip] ^ 0xFF,)) + data[flip + 1 :]
    named = 0
    for key, body in bad.items():
        path = tmp_path / f"{key}{good.suffix}"
        path.write_bytes(body)
        codec, begin = registry.get("modalities", name)(), time.perf_counter()
        try:
            for item in codec.items(path):
                codec.read(item)
        except BadItem as error:
            named += len(str(error)) > 8
        assert time.perf_counter() - begin < 5
    assert named >= 2, "an empty file at least is no item of any medium"


def tiny(family, target, cond):
    config_class = registry.get("families", family, "Config")
    small = {"width": 32, "depth": 1, "layers": 1, "dim": 32, "heads": 2}
    fields = {f.name: f for f in dataclasses.fields(config_class)}
    config = config_class(**{k: v for k, v in small.items() if k in fields and isinstance(fields[k].default, int)})
    with Noise("contract").seeded():
        return registry.get("families", family)(target, cond, config)


@pytest.mark.parametrize(("name", "key", "family"), [(n, k, f) for n in MEDIA for k in VIEWS[n] for f in FAMILIES])
def test_a_family_takes_a_view_or_says_why_not(name, key, family, folders, tmp_path):
    codec, contents = fitted(name, folders[name])
    spec = sized(codec, codec.views()[key], contents)
    reason = registry.get("families", family).refuse(spec, {})
    if reason:
        assert reason.endswith(".")
        return
    x = codec.encode(contents, spec)
    x = x.long() if spec.kind == "tokens" else x.float().div(127.5).sub(1) if x.dtype == torch.uint8 else x
    x = x[:16]
    spec = spec.at(token=x.shape[1]) if spec.kind == "tokens" else spec
    lengths = (x > 0).sum(1) if spec.kind == "tokens" else torch.full((len(x),), x.shape[-1])
    batch, model = Batch(x, {}, torch.ones(len(x)), lengths), tiny(family, spec, {})
    if model.phases:
        trainer = Trainer(model, Training(batch=len(x), lr=2e-3), Clock(2), seed=1)
        losses = [trainer.step(i, lambda noise: batch) for i in range(2)]
        assert all(value == value for row in losses for value in row.values())
    else:
        rows = [Batch(x[i : i + 1], {}, torch.ones(1), lengths[i : i + 1]) for i in range(len(x))]
        model.settle(rows if spec.kind == "tokens" else [batch])
    with torch.inference_mode():
        *_, made = model.eval().sample({}, Noise.rows_of(range(ROWS)), {"forbid": getattr(codec, "forbid", ())})
    media = codec.decode(made, spec)
    assert len(media) == ROWS
    assert codec.write(media, tmp_path / "made", [f"made{k}" for k in range(ROWS)])
