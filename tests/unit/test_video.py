"""The video codec: windows, pace, colour, malformed files, labels read back, duplicates, frame folders."""

import time

import av
import numpy as np
import pytest
import torch
from PIL import Image

from mintage import trust
from mintage.core.errors import BadItem, UsageError
from mintage.core.spec import Item, Sample
from mintage.core.store import content_hash
from mintage.modalities.image import Codec as Pictures
from mintage.modalities.video import Codec
from mintage.nn import footage
from mintage.nn.clips import filmstrip, fingerprint, lasting
from mintage.nn.noise import Noise
from mintage.nn.twins import twins
from mintage.verbs.inspect import inspect


def ball(frames=24, side=32, speed=1.0, start=4.0, colour=(255, 160, 40), back=30, row=16):
    """A ball that moves to the right over a still ground. [T, H, W, 3]"""
    y, x = np.mgrid[:side, :side]
    out = np.full((frames, side, side, 3), back, np.uint8)
    out[:, : side // 4] = back + 40
    for t in range(frames):
        at = start + speed * t
        at = abs((at - 3) % (2 * (side - 6)) - (side - 6)) + 3  # off the walls
        out[t][(x - at) ** 2 + (y - row) ** 2 < 12] = colour
    return out


def save(path, frames, rate=12.5, codec="libx264", form=None):
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=round(rate * 2) / 2 if rate % 1 else int(rate))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def gif(path, frames, wait=80):
    first, *rest = map(Image.fromarray, frames)
    first.save(path, save_all=True, append_images=rest, duration=wait, loop=0)
    return path


def items(path, **options):
    codec = Codec()
    codec.configure({key: str(value) for key, value in options.items()})
    found = list(codec.items(path))
    return codec, [codec.read(item) for item in found], found


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("webm", "libvpx"), ("avi", "mpeg4"), ("mkv", "libx264")])
def test_films_of_every_container_give_their_frames(tmp_path, suffix, codec):
    frames = ball(16)
    _, windows, found = items(save(tmp_path / f"a.{suffix}", frames, 12, codec))
    assert [w.shape for w in windows] == [(16, 32, 32, 3)]
    assert np.abs(windows[0].astype(int) - frames).mean() < 12
    assert found[0].given["_rate"] == "12"


def test_pace(tmp_path):
    frames = ball(32)
    path = save(tmp_path / "a.mp4", frames, 24)
    clip = footage.read(path)
    assert clip.rate == 12
    assert np.abs(clip.frames.astype(int) - frames[::2]).mean() < 6  # every second frame
    assert len(footage.read(path, fps=6).frames) == 8
    assert len(footage.read(path, fps=footage.OWN).frames) == 32
    held = [(0.0, 0), (0.1, 1), (0.6, 2), (0.7, 3)]  # an uneven clock: the third frame comes late
    shots = ((t, lambda k=k: np.full(1, k)) for t, k in held)
    assert [int(f[0]) for f in footage.paced(shots, 10)] == [0, 1, 1, 1, 1, 1, 2, 3]
    jump = ((t, lambda k=k: np.full(1, k)) for k, t in enumerate([0.0, 0.1, 900.0, 900.1]))
    assert [int(f[0]) for f in footage.paced(jump, 10)] == [0, 1, 2, 3]  # a lying time makes no thousand frames


def test_windows_overlap_in_short_files_and_not_in_long_ones(tmp_path):
    _, windows, found = items(save(tmp_path / "a.mp4", ball(30), 12))
    assert [item.at for item in found] == [0, 4, 8, 12]
    assert all(len(w) == 16 for w in windows)
    _, windows, found = items(save(tmp_path / "b.mp4", ball(70, side=16), 12), size="4x16x16")
    assert [item.at for item in found][:3] == [0, 4, 8]
    codec, windows, _ = items(save(tmp_path / "c.mp4", ball(9), 12))
    assert len(windows[0]) == 9
    assert codec.notes[tmp_path / "c.mp4"] == "brief"
    assert [int(k) for k in lasting(np.arange(4), 9)] == [0, 1, 2, 3, 2, 1, 0, 1, 2]


def test_encode_decode_and_sizes(tmp_path):
    codec, windows, found = items(save(tmp_path / "a.mp4", ball(32, side=64), 12))
    codec.fit(windows, [item.given for item in found])
    spec = codec.sized(codec.views()["grid"], {(16, 64, 64, 3): 5}, 5, "")
    assert spec.shape == (3, 16, 32, 32)
    assert spec.rate == 12
    x = codec.encode(windows, codec.views()["grid"].at(time=8, height=64, width=64))
    assert x.dtype == torch.uint8
    back = codec.decode(x, spec)
    assert np.array_equal(back[0].content, windows[0][:8])
    assert codec.sized(spec, {(16, 64, 64, 3): 5}, 5, "24x48x64").shape == (3, 24, 48, 64)
    for wrong in ("7x32x32", "16x30x30", "16x32x32x3", "x", "16xax3"):
        with pytest.raises(UsageError, match="frames x height x width"):
            codec.sized(spec, {(16, 64, 64, 3): 5}, 5, wrong)
    for wrong in ({"fps": "0"}, {"fps": "fast"}, {"format": "flv"}):
        with pytest.raises(UsageError):
            Codec().configure(wrong)
    again = Codec()
    again.restore(codec.state)
    assert again.state == codec.state


def test_grey_is_decided_over_the_set():
    codec = Codec()
    codec.fit([ball(4, colour=(200, 200, 200))] * 3, [{}] * 3)
    assert codec.views()["grid"].shape == (1, 0, 0, 0)
    codec.fit([ball(4, side=8, row=4)] * 3, [{}] * 3)
    assert codec.views()["grid"].channels == ("red", "green", "blue")


def test_gif_is_a_picture_or_a_clip(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for k in range(3):
        gif(folder / f"{k}.gif", ball(16, speed=0.5 + 0.4 * k, row=8 + 6 * k))
    assert inspect(str(folder)).modality == "video"
    Image.fromarray(ball(1)[0]).save(folder / "still.gif")
    assert Codec.claims(folder / "0.gif")
    assert not Codec.claims(folder / "still.gif")
    for k in range(4):
        Image.fromarray(ball(1, row=6 + 5 * k)[0]).save(folder / f"p{k}.png")
    assert inspect(str(folder)).modality == "image"
    assert Pictures().read(Item("", folder / "0.gif")).shape == (32, 32, 3)


def test_a_folder_of_frames_is_a_clip_where_it_is_asked_for(tmp_path):
    for name in ("left", "right"):
        for k in range(2):
            folder = tmp_path / "data" / name / f"clip{k}"
            folder.mkdir(parents=True)
            frames = ball(12, speed=1 + k, row=8 + 8 * (name == "left"))
            for t, frame in enumerate(frames):
                Image.fromarray(frame).save(folder / f"f{t}.png")
    found = inspect(str(tmp_path / "data"), {"modality": "video"})
    assert found.classes == ("left", "right")
    assert len(found.items) == 4
    content = found.contents([item for item in found.items if item.path.name == "clip1" and "left" in str(item.path)])[0]
    assert np.array_equal(content, ball(12, speed=2, row=16))  # 10 after 2, not before it


def test_windows_of_one_file_stay_in_one_split(tmp_path):
    noise = np.random.default_rng(0)
    for k in range(12):
        save(tmp_path / f"{k:02}.mp4", ball(24, side=16, speed=noise.uniform(0.5, 2), start=noise.uniform(3, 9), row=3 + k), 12)
    found = inspect(str(tmp_path))
    splits = {}
    for item in found.items:
        splits.setdefault(item.path, set()).add(item.split)
    assert len(found.items) > 20
    assert all(len(own) == 1 for own in splits.values())
    assert {"train", "holdout", "test"} == set.union(*splits.values())


def test_of_few_files_no_frame_is_learned_and_judged(tmp_path):
    for k in range(6):
        save(tmp_path / f"{k}.mp4", ball(60, side=16, speed=0.3 + 0.21 * k, start=3 + k, row=3 + 2 * k), 12)
    found = inspect(str(tmp_path))
    shared = [
        (a, b) for a in found.items for b in found.items
        if a.path == b.path and a.split != b.split and abs(a.at - b.at) < 16
    ]  # fmt: skip
    assert not shared
    assert {item.split for item in found.items} == {"train", "holdout", "test"}
    left_out = [item for item, ruling in found.refused if ruling.kind == "border"]
    assert left_out
    assert any(f"{len(left_out)} left out between the splits" in line for line in found.summary)


def test_near_duplicates_are_found_and_moments_are_not(tmp_path):
    a, b = ball(16), ball(16, speed=-1.0)
    again = footage.read(save(tmp_path / "a.mp4", a, 12)).frames
    clips = [a, again, b, ball(16, start=9), np.repeat(a[:1], 16, 0), np.repeat(again[:1], 16, 0)]
    assert twins(fingerprint(clips), clips).tolist() == [0, 0, 2, 3, 4, 4]


def malformed(folder):
    """Clip files that are none, by name."""
    good = save(folder / "good.mp4", ball(40), 12)
    data = good.read_bytes()
    whole = {
        "empty.mp4": b"", "zeros.webm": bytes(5000), "text.mp4": b"hello " * 99, "noise.avi": np.random.default_rng(0).bytes(9000),
        "playlist.mp4": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n",
        "concat.mp4": b"ffconcat version 1.0\nfile 'good.mp4'\n", "half.mp4": data[: len(data) // 2], "head.mp4": data[:40],
    }  # fmt: skip
    for suffix, codec in (("webm", "libvpx"), ("avi", "mpeg4"), ("mkv", "libx264")):
        other = save(folder / f"good.{suffix}", ball(80), 12, codec).read_bytes()
        whole[f"half.{suffix}"] = other[: len(other) // 2]
    moving = gif(folder / "good.gif", ball(12)).read_bytes()
    whole["half.gif"] = moving[: len(moving) // 2]
    whole["huge.gif"] = moving[:6] + b"\xff\xff\xff\xff" + moving[10:]
    whole["huge.mp4"] = save(folder / "huge.mp4", np.zeros((2, 3200, 3200, 3), np.uint8), 12).read_bytes()
    footage.write_webp(ball(12), 12.5, folder / "good.webp")
    whole["half.webp"] = (folder / "good.webp").read_bytes()[:700]
    picture = folder / "picture.png"
    Image.fromarray(ball(1)[0]).save(picture)
    whole["picture.mp4"] = picture.read_bytes()
    at = data.index(b"mdat") + 4
    rotten = bytearray(data)
    rotten[at : at + len(data) // 2] = bytes(len(data) // 2)
    whole["rotten.mp4"] = bytes(rotten)
    for name, body in whole.items():
        (folder / name).write_bytes(body)
    return list(whole)


def test_malformed_clips_are_named_with_a_reason_and_soon(tmp_path):
    for name in malformed(tmp_path):
        begin = time.perf_counter()
        with pytest.raises(BadItem) as caught:
            items(tmp_path / name)
        assert str(caught.value), name
        assert time.perf_counter() - begin < 5, name
    assert len(items(tmp_path / "good.mp4")[1]) == 7


@pytest.mark.parametrize("form", ["mp4", "webp", "gif"])
@pytest.mark.parametrize("grey", [False, True])
def test_a_file_of_ours_is_labelled_in_every_frame_and_reads_back(tmp_path, form, grey):
    codec = Codec()
    codec.configure({"format": form})
    clip = ball(12, side=40)[..., : 1 if grey else 3]
    x = torch.from_numpy(clip).movedim(3, 0)[None]
    media = codec.decode(x, codec.views()["grid"])
    sample = Sample(media[0], 3, content_hash(media[0].content), {"class": "right"})
    paths, refused = trust.release([sample], "file", {"recipe": {"family": "flow"}, "mintage": "0"}, None, tmp_path, codec)
    assert not refused
    finding = trust.verify(paths[0])
    assert finding.verdict == "compliant", finding.line
    _, windows, _ = items(paths[0])
    assert windows[0].shape == (12, 40, 40, 3)  # without the strip
    assert np.abs(windows[0].astype(int) - clip).mean() < 3
    frames = footage.shown(paths[0])
    frames[5, 40:] = 255
    footage.write(frames, 12.5, paths[0])
    layers = {layer.layer: layer.verdict for layer in trust.verify(paths[0]).layers}
    assert layers["visible label"] == "noncompliant"
    assert (layers["content"] == "noncompliant") == (form != "webp")  # the exact one still shows what was made


def release(codec, clips, folder):
    """Files of clips [T, H, W, C], as they leave."""
    media = [codec.decode(torch.from_numpy(np.ascontiguousarray(clip)).movedim(3, 0)[None], None)[0] for clip in clips]
    samples = [Sample(thing, k, content_hash(thing.content), {}) for k, thing in enumerate(media)]
    return trust.release(samples, "file", {"recipe": {"family": "flow"}, "mintage": "0"}, None, folder, codec)[0]


@pytest.mark.parametrize("how", ["turn", "fade"])
def test_a_loop_has_no_seam(tmp_path, how):
    codec = Codec()
    codec.configure({"loop": how, "format": "gif"})
    clip = ball(16).astype(np.float32) * 0.5 + np.linspace(0, 90, 16).reshape(-1, 1, 1, 1)  # moves, and grows lighter
    x = torch.from_numpy(clip.astype(np.uint8)).movedim(3, 0)[None]
    made = codec.decode(x, codec.views()["grid"])[0].content.astype(np.float32)
    assert len(made) == {"turn": 30, "fade": 12}[how]
    change = np.abs(np.diff(made, axis=0)).mean((1, 2, 3))
    seam, plain = (np.abs(c[0].astype(np.float32) - c[-1]).mean() for c in (made, clip))
    assert seam <= 1.5 * change.max() < plain
    path = release(codec, [clip.astype(np.uint8)], tmp_path)[0]
    assert trust.verify(path).verdict == "compliant"
    assert len(footage.shown(path, len(made))) == len(made)
    with pytest.raises(UsageError, match="turn, fade"):
        codec.configure({"loop": "yes"})


def test_frames_that_a_webp_joins_are_still_what_was_made(tmp_path):
    clip, codec = ball(16), Codec()
    codec.configure({"format": "webp"})
    still, twice, held = clip[:1].repeat(16, 0), clip[:8].repeat(2, 0), np.concatenate([clip[:13], clip[13:14].repeat(3, 0)])
    for rate in (12.5, 7.99, 30.0):
        codec.rate = rate
        for k, made in enumerate((still, twice, held, twice[..., :1])):
            [path] = release(codec, [made], tmp_path / f"{rate:g}-{k}")
            found = trust.verify(path)
            assert found.verdict == "compliant", found.line
    frames = footage.shown(path, 16)
    frames[3, 5, 5] ^= 255
    footage.write_webp(frames, 12.5, path)
    assert {layer.layer: layer.verdict for layer in trust.verify(path).layers}["content"] == "noncompliant"
    beside = tmp_path / "7.99-0"
    [path] = [path for path in beside.iterdir() if path.suffix == ".webp"]
    frames = footage.shown(path, 16)
    frames[:, 2:9, 2:9] = 0  # still a picture, but another one
    footage.write_webp(frames, 7.99, path)
    assert {layer.layer: layer.verdict for layer in trust.verify(path).layers}["content"] == "noncompliant"


@pytest.mark.parametrize("form", ["mp4", "webp", "gif"])
def test_a_sheet_of_ours_is_labelled_and_no_clip(tmp_path, form):
    codec = Codec()
    codec.configure({"format": form})
    clips = [ball(12), ball(12, row=8), ball(12, speed=2)]
    made = [codec.decode(torch.from_numpy(clip).movedim(3, 0)[None], None)[0] for clip in clips]
    *_, sheet = release(codec, clips, tmp_path)
    assert sheet.name == f"sheet.{form}"
    found = trust.verify(sheet)
    assert found.verdict == "compliant", found.line
    with pytest.raises(BadItem, match="a sheet of several clips"):
        items(sheet)
    frames = footage.shown(sheet)
    frames[5, codec.sheet(made).content.shape[1] :] = 255
    footage.write(frames, 12.5, sheet)
    assert {layer.layer: layer.verdict for layer in trust.verify(sheet).layers}["visible label"] == "noncompliant"


def test_looks_and_plays():
    codec = Codec()
    media = codec.decode(torch.from_numpy(ball(16)).movedim(3, 0)[None], codec.views()["grid"])
    assert codec.look(media[0]).shape == (32, 8 * 33 - 1, 3)
    mime, data = codec.play(media[0])
    assert (mime, data[8:12]) == ("image/webp", b"WEBP")
    assert codec.sheet(media * 5).content.shape[0] == 16
    assert filmstrip(ball(3, side=8)).shape == (8, 26, 3)


def test_select_and_mirror():
    codec = Codec()
    spec = codec.views()["grid"].at(time=8, height=16, width=24)
    assert codec.select("2-3", spec).sum() == 2 * 16 * 24
    assert codec.select("1,2,5,4", spec).sum() == 8 * 4 * 2
    for wrong in ("3-8", "4-2", "1,2", "here"):
        with pytest.raises(UsageError):
            codec.select(wrong, spec)
    x = torch.arange(8 * 4, dtype=torch.float32).view(8, 1, 1, 1, 4)
    turned = codec.augment(x, spec, Noise("m"))
    assert {bool((a == b).all()) for a, b in zip(x, turned, strict=True)} == {True, False}
