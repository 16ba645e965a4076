"""--with: each sample comes from the member that its seed chooses, labelled as that member's, with that member's content."""

import json

import numpy as np
import pytest
from PIL import Image

import mintage
from mintage.core.errors import RefusedError
from mintage.core.store import find_run
from mintage.verbs.generate import maker_of, members_of
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

TINY = ("steps=30", "width=32", "batch=32")


def label_of(path):
    with Image.open(path) as picture:
        return json.loads(picture.info["mintage"])


@pytest.fixture
def members(runs):
    for name, seed in (("one", 0), ("two", 1)):
        train(Wish("digits", "tinyflow", seed=seed, name=name, options=TINY))
    return "one", "two"


def test_each_seed_has_its_member_and_that_member_s_content(members):
    one, two = (mintage.generate(name, n=12, seed=5, out=None) for name in members)
    mixed = mintage.generate("one", n=12, seed=5, mixed=["two"])
    makers = maker_of(range(5, 17), 2)
    assert set(makers) == {0, 1}
    assert mixed.hashes == tuple((one, two)[k].hashes[i] for i, k in enumerate(makers))
    assert mintage.generate("one", n=1, seed=9, mixed=["two"]).hashes == mixed.hashes[4:5]
    labels = [label_of(path) for path in mixed.paths]
    names = [label["name"] for label in labels if "seed" in label]
    assert names == [members[k] for k in makers]
    assert sum(path.name == "sheet.png" for path in mixed.paths) == 1


def test_clips_of_another_pace_are_refused(runs, tmp_path):
    for k in range(6):
        frames = np.zeros((16, 16, 16, 3), np.uint8)
        for t in range(16):
            frames[t, 2 * k : 2 * k + 4, t % 12 : t % 12 + 4] = (200, 90, 20 * k)
        first, *rest = map(Image.fromarray, frames)
        first.save(tmp_path / f"{k}.gif", save_all=True, append_images=rest, duration=80)
    for name, fps in (("quick", "12.5"), ("slow", "5")):
        train(Wish(str(tmp_path), "sketch", size="8x8x8", name=name, options=("steps=2", f"fps={fps}", "modality=video")))
    with pytest.raises(RefusedError, match=r"slow makes 5 frames a second, and quick 12\.5"):
        members_of(["quick", "slow"])
    assert len(members_of(["quick", "quick"])) == 2


def test_members_come_equally_often():
    shares = maker_of(range(3000), 3)
    assert all(abs(shares.count(k) / 3000 - 1 / 3) < 0.03 for k in range(3))


def test_other_media_and_sizes_are_refused_in_one_sentence(members, cli, tmp_path):
    train(Wish("digits", "tinyflow", size="16", name="large", options=TINY))
    with pytest.raises(RefusedError, match=r"1×16×16.*1×8×8"):
        mintage.generate("one", mixed=["large"])
    code, _, err = cli("generate", "one", "--with", "large", "-q")
    assert code == 2
    assert err.count("\n") == 1
    code, out, _ = cli("generate", "one", "--with", "two", "-n", "3", "-q")
    assert code == 0
    assert len(out.split()) == 4
    assert find_run("one").outputs.exists()
