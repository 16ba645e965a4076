"""What lies on the disk is found again: torn lines, odd names, the cache of encoded data."""

import numpy as np
import pytest
import torch
from PIL import Image

from mintage.core.store import Run, append_json, find_run, read_json, read_jsonl, write_json
from mintage.verbs import plan
from mintage.verbs.dataset import build, encoded
from mintage.verbs.inspect import inspect
from mintage.verbs.load import build_codec


def test_a_row_after_a_torn_line_is_not_lost(tmp_path):
    path = tmp_path / "journal.jsonl"
    append_json(path, {"a": "line\u2028separator"})
    with open(path, "ab") as file:
        file.write('{"torn": "中'.encode()[:-1])
    append_json(path, {"b": 2}, durable=True)
    assert read_jsonl(path) == [{"a": "line\u2028separator"}, {"b": 2}]


def test_a_file_name_that_is_no_utf8_comes_back(tmp_path):
    write_json(tmp_path / "a.json", {"path": "\udcff.png"})
    assert read_json(tmp_path / "a.json") == {"path": "\udcff.png"}


def test_the_name_of_a_kept_checkpoint_is_known_before_it_is_there(tmp_path, monkeypatch):
    run = Run(tmp_path)
    path = run.save_checkpoint(3, {"x": torch.ones(2)}, keep="trunk")
    assert run.kept("trunk") == path
    path.unlink()
    assert run.kept("trunk") is None


def test_a_model_folder_inside_its_run_is_that_run(tmp_path):
    (tmp_path / "model").mkdir()
    write_json(tmp_path / "recipe.json", {})
    write_json(tmp_path / "model" / "card.json", {})
    assert find_run(str(tmp_path / "model")).path == tmp_path  # so that its copies are recognised


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("MINTAGE_CACHE", str(tmp_path / "cache"))
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    for number in range(12):
        shade = np.clip(rng.normal(20 * number, 30, (64, 64, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(shade).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(f"shade {number}")
    return folder


def test_more_minutes_keep_the_frozen_size(photos):
    inspection = inspect(str(photos))
    short = plan.outline(plan.Wish(str(photos), minutes=2), inspection)
    longer = plan.outline(plan.Wish(str(photos), minutes=10), inspection)
    assert short.recipe.target.shape != longer.recipe.target.shape
    frozen = short.recipe
    again = encoded(frozen, inspection, build_codec(frozen))
    assert np.array_equal(again.parts["train"].data, short.dataset.parts["train"].data)


def test_renamed_files_keep_their_captions(photos):
    def pairs():
        inspection = inspect(str(photos))
        outline = plan.outline(plan.Wish(str(photos), minutes=2), inspection)
        dataset = build(inspection, build_codec(outline.recipe), outline.recipe.target, {"caption": outline.recipe.cond["caption"]})
        part = dataset.parts["train"]
        return {tuple(caption.tolist()): float(x.mean()) for x, caption in zip(part.data, part.given["caption"], strict=True)}

    before = pairs()
    for path in sorted(photos.iterdir()):
        path.rename(path.with_name(f"{99 - int(path.stem):02d}{path.suffix}"))
    assert pairs() == before


@pytest.mark.parametrize("name", ["train.bin", "train.offsets.npy", "done.json"])
@pytest.mark.parametrize("left", [0, 5, None])
def test_a_damaged_cache_is_made_anew(photos, name, left):
    def pixels():
        inspection = inspect(str(photos))
        return np.array(plan.outline(plan.Wish(str(photos), minutes=2), inspection).dataset.parts["train"].data)

    before = pixels()
    (path,) = photos.parent.glob(f"cache/encoded/*/{name}")
    path.unlink() if left is None else path.write_bytes(path.read_bytes()[:left])
    assert np.array_equal(pixels(), before)
    assert path.stat().st_size > 5
