"""A hundred broken files of every medium: each is read or named with a reason, in seconds, and none breaks anything."""

import time

import numpy as np
import pytest
import specimens

from mintage.core import registry
from mintage.verbs.inspect import inspect

MEDIA = registry.names("modalities")
N = 100


def broken(good, others, draw):
    """A hundred ways to spoil the bytes of good files; ``others`` are files of other media."""
    data = [path.read_bytes() for path in good]
    for k in range(N):
        whole = bytearray(data[k % len(data)])
        if k < 30:  # cut off
            yield bytes(whole[: int(len(whole) * (k + 0.5) / 31)])
        elif k < 55:  # a byte of the header changed
            whole[int(draw.integers(0, min(64, len(whole))))] ^= int(draw.integers(1, 256))
            yield bytes(whole)
        elif k < 70:  # sizes that lie
            at = int(draw.integers(0, max(1, min(60, len(whole) - 4))))
            whole[at : at + 4] = b"\xff\xff\xff\x7f" if k % 2 else b"\0\0\0\0"
            yield bytes(whole)
        elif k < 80:  # a hole in the middle
            at = int(draw.integers(0, max(1, len(whole) - 64)))
            yield bytes(whole[:at] + draw.bytes(64) + whole[at + 64 :])
        elif k < 85:  # nothing, or nothing but zeros
            yield bytes(1000 * (k - 80))
        elif k < 95:  # another medium's bytes under this suffix
            yield others[k % len(others)]
        else:
            yield draw.bytes(int(draw.integers(1, 4000)))


@pytest.mark.slow
@pytest.mark.parametrize("name", MEDIA)
def test_a_hundred_broken_files(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MINTAGE_CACHE", str(tmp_path / "cache"))
    for medium in MEDIA:
        (tmp_path / medium).mkdir()
        getattr(specimens, medium)(tmp_path / medium)
    good = sorted((tmp_path / name).iterdir())
    others = [next(iter(sorted((tmp_path / other).iterdir()))).read_bytes() for other in MEDIA if other != name]
    folder = tmp_path / "mixed"
    folder.mkdir()
    for k, path in enumerate(good[:3]):
        (folder / f"good{k}{path.suffix}").write_bytes(path.read_bytes())
    for k, body in enumerate(broken(good, others, np.random.default_rng(7))):
        (folder / f"bad{k:03d}{good[0].suffix}").write_bytes(body)
    begin = time.perf_counter()
    found = inspect(str(folder), {"modality": name})
    seconds = time.perf_counter() - begin
    read, named = {item.path.name for item in found.items}, {item.path.name for item, ruling in found.refused if ruling.reason}
    assert {path.name for path in folder.iterdir()} <= read | named, "every file is read or named with a reason"
    assert seconds < 60
    assert len(named) >= (5 if name in ("text", "table") else 40)
