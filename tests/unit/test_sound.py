"""The sound codec: files in and out, the grid and the way back, labels, what is refused and why."""

import io
import itertools
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from specimens import tone

from mintage import trust
from mintage.core.errors import BadItem, UsageError
from mintage.core.protocols import Learns
from mintage.core.spec import Item, Media, Sample, Spec
from mintage.core.store import content_hash
from mintage.metrics import envelope
from mintage.modalities.sound import Codec
from mintage.nn import morse, recordings, restorer, spectral
from mintage.nn.noise import Noise
from mintage.nn.recordings import rate_of
from mintage.nn.twins import twins
from mintage.nn.waves import as_floats, faded, loudness, resampled, trimmed
from mintage.trust import carriers
from mintage.verbs.inspect import inspect
from mintage.verbs.splits import assign


def fitted(waves, rate=8000, given=None):
    codec = Codec()
    contents = [np.rint(resampled(wave, rate, 24000) * 32767).astype(np.int16) for wave in waves]
    codec.fit(contents, given or [{}] * len(waves))
    return codec, contents


def spectral_error(a, b, how):
    """Mean difference of two waves in decibels, over what is audible."""
    x, y = (spectral.log_mel(torch.from_numpy(w[: len(w) // 100 * 100])[None], how)[0] for w in (a, b))
    n = min(x.shape[1], y.shape[1])
    seen = x[:, :n] > x.max() - 40
    return float((x[:, :n] - y[:, :n]).abs()[seen].mean())


@pytest.mark.parametrize(("rate", "other"), list(itertools.permutations((8000, 11025, 24000, 44100), 2)))
def test_another_rate_keeps_the_sound(rate, other):
    wave = tone(700, 0.3, rate)
    found = resampled(wave, rate, other)
    assert len(found) == -(-len(wave) * other // rate)
    wanted = tone(700, 0.3, other)[: len(found)]
    middle = slice(len(wanted) // 8, -len(wanted) // 8)
    assert np.abs(found[: len(wanted)][middle] - wanted[middle]).max() < 0.01


def test_silence_goes_and_soft_ends_stay():
    wave = np.concatenate([np.zeros(4000, np.float32), tone(), np.zeros(9000, np.float32)])
    kept = trimmed(wave, 8000)
    assert 0.35 * 8000 < len(kept) < 0.48 * 8000
    assert not len(trimmed(np.zeros(800, np.float32), 8000))
    soft = faded(np.ones(800, np.float32), 8000, 0.01, 0.02)
    assert abs(soft[0]) < 0.01
    assert abs(soft[-1]) < 0.01
    assert soft[100] == soft[600] == 1


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_there_and_back(rate):
    how = spectral.Analysis(rate, round(0.032 * rate), rate // 80, {8000: 40, 16000: 64, 24000: 80}[rate])
    wave = tone(300, 0.5, rate)
    grid = spectral.log_mel(torch.from_numpy(wave)[None], how)[0]
    back = spectral.invert(grid, how).numpy()
    assert len(back) == len(wave)
    assert spectral_error(wave, back, how) < 2.0
    first = spectral.invert(grid, how, rounds=0).numpy()
    assert spectral_error(wave, back, how) < spectral_error(wave, first, how)


def test_every_format_mono_and_stereo_comes_in_alike(tmp_path):
    stereo = np.stack([tone(level=0.4), tone(level=0.2)], 1)
    shown = {}
    for suffix, subtype in (
        (".wav", "PCM_16"),
        (".wav", "PCM_24"),
        (".wav", "FLOAT"),
        (".flac", None),
        (".mp3", None),
        (".ogg", None),
    ):
        path = tmp_path / f"{subtype}{suffix}"
        soundfile.write(path, stereo, 8000, subtype=subtype)
        content = Codec().read(Item("", path))
        assert content.dtype == np.int16
        assert content.ndim == 1
        shown[path.name] = content
    first = shown["PCM_16.wav"]
    for name, content in shown.items():
        assert abs(len(content) - len(first)) < 2400, name
        assert abs(loudness(as_floats(content), 24000) - loudness(as_floats(first), 24000)) < 1.0, name


def test_grid_bytes_and_back_with_length_and_band():
    waves = [tone(200 + 40 * k, 0.3 + 0.02 * k) for k in range(12)]
    codec, contents = fitted(waves)
    assert codec.rate == 8000  # nothing lies above 4 kHz
    view = codec.sized(codec.views()["grid"], {(len(c),): 1 for c in contents}, 5, "")
    assert view.shape == (1, 40, 48)
    x = codec.encode(contents, view)
    assert x.dtype == torch.uint8
    media = codec.decode(x, view)
    for wave, thing, row in zip(waves, media, x, strict=True):
        assert rate_of(thing) == 8000
        heard = thing.content.astype(np.float32) / 32767
        assert abs(len(trimmed(heard, 8000)) - len(trimmed(wave, 8000))) < 700
        assert np.abs(heard).max() <= 0.9
        assert abs(heard[0]) < 0.01
        assert abs(heard[-1]) < 0.01
        assert (row[0, :, -1] == 0).all() or len(wave) > 47 * 100  # after its end there is silence
    alone = codec.decode(x[3:4], view)[0]
    assert np.array_equal(alone.content, media[3].content), "a sound must not depend on its neighbours"
    floats = codec.decode(x.float() / 127.5 - 1, view)
    assert np.array_equal(floats[3].content, media[3].content)
    other = Codec()
    other.restore(codec.state)
    assert np.array_equal(other.decode(x[3:4], view)[0].content, alone.content)


def test_band_is_what_the_data_fills_or_what_is_asked():
    hiss = [0.1 * Noise("hiss", k).normal((24000,)).numpy() for k in range(3)]
    assert fitted(hiss, 24000)[0].rate == 24000
    assert fitted([resampled(h, 24000, 16000) for h in hiss], 16000)[0].rate == 16000
    codec = Codec()
    codec.configure({"rate": "16000"})
    codec.fit(fitted([tone()])[1], [{}])
    assert codec.rate == 16000
    assert codec.views()["grid"].shape == (1, 64, 0)
    with pytest.raises(UsageError, match="8000, 16000, 24000"):
        Codec().configure({"rate": "44100"})


def test_the_band_keeps_the_sound_of_a_fuller_class():
    bells = [tone(440, 0.3, 24000)] * 12
    hiss = [0.1 * Noise("hiss", k).normal((7200,)).numpy() for k in range(8)]
    assert fitted(bells, 24000)[0].rate == 8000
    assert fitted(bells + hiss, 24000)[0].rate == 24000
    assert fitted(bells + hiss[:1], 24000)[0].rate == 8000  # one is not a class


def test_the_rate_that_is_guessed_is_the_one_that_is_learned(tmp_path):
    for k in range(17):
        soundfile.write(tmp_path / f"{k}.wav", tone(300 + 37 * k, 0.3, 24000), 24000)
    for k in range(3):  # of which two happen to be held out
        soundfile.write(tmp_path / f"hiss{k}.wav", 0.1 * Noise("hiss", (14, k)).normal((7200,)).numpy(), 24000)
    found = inspect(str(tmp_path))
    train, codec = found.split("train"), Codec()
    codec.fit(found.contents(train), [item.given for item in train])
    assert [guess.value for guess in found.guesses if guess.override == "-o rate="] == [str(codec.rate)] == ["8000"]


def test_loudness_is_kept_unless_it_differs_wildly():
    alike, _ = fitted([tone(level=0.2 + 0.02 * k) for k in range(10)])
    apart, contents = fitted([tone(level=0.5 * 0.5**k) for k in range(10)])
    assert not alike.even
    assert apart.even
    x = apart.encode(contents, apart.views()["grid"].at(time=40))
    assert x.float().amax((1, 2, 3)).std() < 8


def test_sizes():
    codec, _ = fitted([tone(seconds=0.5)])
    view, shapes = codec.views()["grid"], {(12000,): 97, (72000,): 3}
    assert codec.sized(view, shapes, 5, "").size("time") == 40
    assert codec.sized(view, {(240000,): 9}, 1, "").size("time") == 80
    assert codec.sized(view, shapes, 5, "1s").size("time") == 80
    assert codec.sized(view, shapes, 5, "800ms").size("time") == 64
    for wrong in ("64", "0", "1m", "-1s", "30s"):
        with pytest.raises(UsageError, match="--size"):
            codec.sized(view, shapes, 5, wrong)
    with pytest.raises(UsageError, match="the longest clip"):
        codec.sized(view, {(12000,): 3}, 5, "5s")


def test_pieces_of_one_file_share_a_split():
    items = [Item(f"{k * 7 % 36:02d}", Path(f"{k // 3}.wav"), k % 3 + 1) for k in range(36)]
    splits = {}
    for item in assign(items, None, [], by_file=True):
        splits.setdefault(item.path, set()).add(item.split)
    assert all(len(own) == 1 for own in splits.values())
    assert {next(iter(own)) for own in splits.values()} == {"train", "holdout", "test"}


@pytest.mark.parametrize("reach", [0, 4, 16])
@pytest.mark.parametrize(("files", "pieces"), [(1, 3), (1, 40), (2, 12), (6, 12), (6, 4), (7, 1), (9, 90), (3, 7)])
def test_of_few_files_stretches_are_held_out(files, pieces, reach):
    items = [Item(content_hash(f"{k}:{n}"), Path(f"{k}.mp4"), 4 * n) for k in range(files) for n in range(pieces)]
    found = assign(items, None, [], by_file=True, reach=reach)
    by_split = {name: [item for item in found if item.split == name] for name in ("train", "holdout", "test")}
    held = [(a, b) for a in found for b in found if a.split != b.split and a.path == b.path]
    assert all(abs(a.at - b.at) >= reach for a, b in held)
    if (files, pieces, reach) == (1, 3, 16):
        assert [item.split for item in found] == ["train"] * 3  # nothing can be held out of it
        return
    assert all(by_split.values())
    assert len(by_split["train"]) >= 0.3 * len(items)
    for name in ("holdout", "test"):
        assert 0.08 * len(items) <= len(by_split[name]) <= max(0.35 * len(items), 1)
    for path, n in Counter(item.path for item in by_split["test"]).items():
        assert n == sum(item.path == path and item.at >= 4 * (pieces - n) for item in found), "they are its end"
    again = assign([replace(item, path=Path("moved") / item.path) for item in items], None, [], by_file=True, reach=reach)
    assert [item.split for item in again] == [item.split for item in found]


def test_few_clips_and_a_long_recording(tmp_path):
    short = [Item(content_hash(f"s{k}"), Path(f"s{k}.wav")) for k in range(20)]
    found = assign([*short, *(Item(f"{n:08x}", Path("long.wav"), n) for n in range(1, 201))], None, [], by_file=True)
    assert 0.08 * 220 <= sum(item.split == "test" for item in found) <= 22
    assert 0.08 * 220 <= sum(item.split == "holdout" for item in found) <= 22
    assert len(found) == 220
    for n in (0, 1, 2):
        assert [item.split for item in assign(short[:n], None, [], by_file=True)] == ["train"] * n


def test_recordings_are_cut_into_pieces(tmp_path):
    for k in range(4):
        notes = Noise("tune", k).integers(150, 1500, (25,)).tolist()
        soundfile.write(tmp_path / f"take{k}.wav", np.concatenate([tone(hertz, 0.5) for hertz in notes]), 8000)
    found = inspect(str(tmp_path))
    assert len(found.items) == 24
    assert set(found.shapes) == {(48000,)}
    wave, _ = soundfile.read(tmp_path / "take0.wav", dtype="float32")
    piece = next(i for i in found.items if i.path.name == "take0.wav" and i.at == 3)
    content = as_floats(Codec().read(piece))
    assert np.abs(content[::3][100:-100] - wave[4 * 8000 : 6 * 8000][100:-100]).max() < 0.01
    assert len(inspect(str(tmp_path), {"piece": "4s"}).items) == 12


def test_one_recording_is_split_by_its_tenths(tmp_path):
    notes = Noise("tune").integers(150, 1500, (80,)).tolist()
    soundfile.write(tmp_path / "take.wav", np.concatenate([tone(hertz, 0.5) for hertz in notes]), 8000)
    items = inspect(str(tmp_path)).items
    assert Counter(item.split for item in items) == {"train": 16, "holdout": 2, "test": 2}
    for split in ("holdout", "test"):
        first, last = sorted(item.at for item in items if item.split == split)
        assert last == first + 1


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg"])
def test_writes_what_can_be_read_back(tmp_path, suffix):
    samples = (tone(500, 0.5) * 32767).astype(np.int16)
    [path] = Codec().write([Media(samples, "audio/L16;rate=8000", suffix)], tmp_path, ["a"])
    assert path.name == f"a{suffix}"
    back, rate = soundfile.read(path, dtype="int16")
    assert rate == 8000
    if suffix in (".wav", ".flac"):
        assert np.array_equal(back, samples)
    assert np.abs(back.astype(int)).max() < 32767
    again = Codec().read(Item("", path))
    assert abs(len(again) / 3 - len(samples)) < 900


@pytest.mark.parametrize("kind", ["wav", "mp3", "ogg"])
@pytest.mark.parametrize("seconds", [9.5, 10.0, 12.5])
def test_a_long_sound_of_ours_is_read_without_its_sign(tmp_path, seconds, kind):
    samples = (3000 * Noise("long").normal((round(seconds * 8000),)).numpy()).astype(np.int16)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(recordings.encoded(morse.signed(samples, 8000), 8000, f".{kind}"))
    codec = Codec()
    found = [codec.read(item) for item in codec.items(path)]
    assert len(found) == (1 if seconds <= 10 else 6)
    assert abs(sum(map(len, found)) / 24000 - min(seconds, 12)) < 0.1
    assert min(as_floats(part[k : k + 2400]).std() for part in found for k in range(0, len(part) - 2400, 2400)) > 0.05


def test_a_page_and_a_player():
    media = Media((tone(500, 0.5) * 32767).astype(np.int16), "audio/L16;rate=8000", ".wav")
    seen = Codec().look(media)
    assert seen.dtype == np.uint8
    assert seen.shape == (80, 80)
    assert seen[-26:-10].min() < 60 < 200 < seen[:20].mean()  # ink low down, where the tone and its harmonics lie
    mime, data = Codec().play(media)
    assert mime == "audio/wav"
    assert data[:4] == b"RIFF"


def damaged(tmp_path):
    """Files that are no whole sounds: name → bytes."""
    found = {"empty.wav": b"", "zeros.flac": bytes(900), "text.mp3": b"these are words and no sound\n" * 20}
    for suffix in (".wav", ".flac", ".mp3", ".ogg"):
        soundfile.write(tmp_path / f"good{suffix}", tone(300, 1.0, 16000), 16000)
        good = (tmp_path / f"good{suffix}").read_bytes()
        found |= {f"cut{share}{suffix}": good[: int(len(good) * share)] for share in (0.01, 0.1, 0.5, 0.9)}
        found |= {f"noise{suffix}": good[:64] + Noise("bytes", suffix).integers(0, 256, (len(good) - 64,)).byte().numpy().tobytes()}
    wav = bytearray((tmp_path / "good.wav").read_bytes())
    lies = {"rate": (24, 0), "fast": (24, 0xFFFFFFF0), "channels": (22, 0xFFFF), "long": (40, 0x70000000), "bits": (34, 0)}
    for name, (at, value) in lies.items():
        wide = 2 if name in ("channels", "bits") else 4
        found[f"lie-{name}.wav"] = bytes(wav[:at]) + value.to_bytes(wide, "little") + bytes(wav[at + wide :])
    flac = bytearray((tmp_path / "good.flac").read_bytes())
    flac[21] |= 0x0F  # the count of samples: 2³⁶
    found["lie-count.flac"] = bytes(flac)
    found["picture.ogg"] = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
    nan = tmp_path / "nan.wav"
    soundfile.write(nan, np.full(8000, np.nan, np.float32), 8000, subtype="FLOAT")
    silent, short = tmp_path / "silent.wav", tmp_path / "short.wav"
    soundfile.write(silent, np.zeros(8000, np.float32), 8000)
    soundfile.write(short, tone(seconds=0.01), 8000)
    found |= {path.name: path.read_bytes() for path in (nan, silent, short)}
    for path in tmp_path.glob("good.*"):
        path.unlink()
    return found


def test_malformed_files_are_named_with_a_reason(tmp_path):
    cases, codec = damaged(tmp_path), Codec()
    folder = tmp_path / "data"
    folder.mkdir()
    for name, data in cases.items():
        (folder / name).write_bytes(data)
        begin = time.perf_counter()
        came_in = False
        with suppress(BadItem):
            came_in = bool([codec.read(item) for item in list(codec.items(folder / name))[:3]])
        assert not came_in or name.startswith(("noise", "cut0.9.mp3", "cut0.5.mp3")), name
        assert time.perf_counter() - begin < 2, name
    soundfile.write(folder / "good.wav", tone(), 8000)
    found = inspect(str(folder))
    assert "good.wav" in {item.path.name for item in found.items}
    refused = {item.path.name: ruling.reason for item, ruling in found.refused}
    assert set(cases) <= set(refused) | {item.path.name for item in found.items}
    assert min(map(len, refused.values())) > 8
    assert "text" in refused["text.mp3"]
    assert "silent" in refused["silent.wav"]
    assert "cut off" in refused["cut0.5.wav"]
    assert "cut off" in refused["cut0.5.ogg"]


def test_the_same_recording_in_another_format_is_a_near_copy():
    waves = [tone(150 + 30 * k, 0.3 + 0.03 * (k % 5)) for k in range(20)]
    again = [0.5 * w for w in waves[:5]]
    _, contents = fitted([*waves, *again])
    files = [io.BytesIO(recordings.encoded(content, 24000, ".ogg")) for content in contents[20:]]
    contents[20:] = [soundfile.read(file, dtype="int16")[0] for file in files]
    heads = twins(Codec().fingerprint(contents), contents)
    assert heads[20:].tolist() == list(range(5))
    assert heads[:20].tolist() == list(range(20))


def test_classes_from_the_names_of_files(tmp_path):
    for k in range(24):
        soundfile.write(tmp_path / f"{k % 3}_{'ab'[k // 12]}_{k}.wav", tone(200 + 20 * k), 8000)
    found = inspect(str(tmp_path))
    assert found.classes == ("0", "1", "2")
    assert any("name2" in guess.value for guess in found.guesses)
    assert inspect(str(tmp_path), {"class": "name2"}).classes == ("a", "b")
    assert inspect(str(tmp_path), {"class": "none"}).classes == ()


def test_select_seconds_and_augment():
    codec, contents = fitted([tone()])
    spec = codec.views()["grid"].at(time=40)
    mask = codec.select("0.1-0.3", spec)
    assert mask.shape == (40, 40)
    assert mask[:, 8:24].all()
    assert mask.sum() == 40 * 16
    with pytest.raises(UsageError, match=r"as 0\.1-0\.3"):
        codec.select("3-9", spec)
    x = codec.encode(contents * 16, spec).float() / 127.5 - 1
    moved = codec.augment(x, spec, Noise("augment"))
    assert ((moved == -1) == (x == -1)).float().mean() > 0.98
    assert 0.2 < (moved != x).flatten(1).any(1).float().mean() < 0.9


def test_a_tiny_training_makes_files(cli, tmp_path):
    data = tmp_path / "bells"
    data.mkdir()
    for k in range(40):
        name = ("high", "low")[k % 2]
        soundfile.write(data / f"{name}_{k}.wav", tone((900, 200)[k % 2] + 5 * k, 0.2 + 0.002 * k), 8000)
    code, out, err = cli(
        "train", data, "-o", "steps=12", "-o", "distil=0", "-o", "widths=16,32", "-o", "depths=1,1", "--name", "bells"
    )
    assert code == 0, err
    code, out, err = cli("generate", "bells", "-n", 3, "--given", "class=high", "--out", tmp_path / "made")
    assert code == 0, err
    journal = (tmp_path / "runs" / "bells" / "journal.jsonl").read_text()
    assert '"equipped"' in journal
    assert (tmp_path / "runs" / "bells" / "model" / "codec.safetensors").exists() == ('"kept": true' in journal)
    paths = [line for line in out.splitlines() if line.endswith(".wav")]
    assert len(paths) == 3
    for path in paths:
        wave, rate = soundfile.read(path)
        assert rate == 8000
        assert np.abs(wave).max() <= 0.95


@pytest.fixture
def sample():
    content = (tone(500, 0.5) * 32767).astype(np.int16)
    return Sample(Media(content, "audio/L16;rate=8000", ".wav"), 7, content_hash(content), {"class": "5"})


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg"])
def test_the_sign_is_heard_and_verify_reads_every_layer(tmp_path, sample, kind):
    codec, run = Codec(), {"recipe": {"family": "flow", "modality": "sound", "data": "digits"}, "mintage": "0"}
    codec.configure({"format": kind})
    sample = replace(sample, media=replace(sample.media, suffix=f".{kind}"))
    [path], _ = trust.release([sample], "file", run, out=tmp_path, codec=codec)
    assert path.suffix == f".{kind}"
    found = trust.verify(path)
    assert found.verdict == "compliant", found.line
    back, rate = recordings.samples_of(path)
    assert abs(morse.begins(back, rate) - len(sample.media.content)) < 0.02 * rate
    own = Codec().read(Item("", path))  # read as data, the sign is no part of it
    assert len(own) / 24000 < 0.56
    cut = tmp_path / f"cut.{kind}"
    soundfile.write(cut, back[: len(sample.media.content)], rate)
    carriers.write(cut, carriers.read(path))
    layers = {layer.layer: layer.verdict for layer in trust.verify(cut).layers}
    assert layers["visible label"] == "noncompliant"
    assert layers["implicit label"] == "compliant"


def test_a_changed_sound_is_found_out(tmp_path, sample):
    [path], _ = trust.release([sample], "file", {"recipe": {}, "mintage": "0"}, out=tmp_path, codec=Codec())
    words, (samples, rate) = carriers.read(path), recordings.samples_of(path)
    samples = samples.copy()
    samples[1000:1200] //= 2
    soundfile.write(path, samples, rate)
    assert {layer.layer: layer.verdict for layer in trust.verify(path).layers}["implicit label"] == "not_found"
    carriers.write(path, words)
    assert {layer.layer: layer.verdict for layer in trust.verify(path).layers}["content"] == "noncompliant"
    path.write_bytes(path.read_bytes()[:200])
    assert trust.verify(path).verdict == "inconclusive"


def test_no_sign_is_heard_where_there_is_none():
    t = np.arange(40000) / 8000
    steady = (0.06 * np.sin(2 * np.pi * morse.HERTZ * t) * 32767).astype(np.int16)
    hiss = (0.05 * Noise("hiss").normal((40000,)).numpy() * 32767).astype(np.int16)
    for samples in (steady, hiss, steady[:100], np.zeros(9000, np.int16), (tone(1046.5, 3.0) * 32767).astype(np.int16)):
        assert morse.begins(samples, 8000) == -1
    noisy = morse.signed(steady[:0], 8000) + (
        morse.LEVEL / 20 * 32767 * Noise("n").normal((len(morse.sign(8000)),)).numpy()
    ).astype(np.int16)
    assert morse.begins(noisy, 8000) >= 0


def test_agreement_of_lengths_and_levels():
    noise = Noise("envelope")
    grid = torch.full((60, 1, 8, 40), -1.0)
    for k, row in enumerate(grid):
        row[:, k % 8, : 10 + k // 4] = 0.2 + 0.01 * (k % 5)
    found = envelope.traits(grid)
    assert found["duration"].tolist() == [10 + k // 4 for k in range(60)]
    assert found["brightness"][:8].tolist() == pytest.approx(list(range(8)))
    longer = envelope.traits(torch.cat([grid[..., :1].expand(-1, -1, -1, 9), grid], 3)[..., :40])
    for values in found.values():
        value, low, _ = envelope.agreement(values, values.roll(3), noise)
        assert value == 1
        assert low > 0.6
    assert envelope.agreement(longer["duration"], found["duration"], noise)[2] < 0.7
    assert envelope.agreement(torch.zeros(30), torch.ones(30), noise) == (0, 0, 0)
    spec = fitted([tone()])[0].views()["grid"].at(time=40)
    assert envelope.Metric.refuse(spec, 30) is None
    assert envelope.Metric.refuse(spec, 3)
    assert envelope.Metric.refuse(Spec("grid", (1, 8, 8), ("channel", "height", "width")), 300)


def test_the_way_back_is_learned_and_kept_only_where_it_wins(monkeypatch):
    monkeypatch.setattr(restorer, "BATCH", 8)
    pitches = Noise("pitch").integers(120, 300, (40,)).tolist()
    codec, contents = fitted([sum(tone(pitch * k, 0.3) for k in range(1, 13)) / 9 for pitch in pitches])
    assert isinstance(codec, Learns)
    assert codec.paced(contents, 0.0) == 10
    lesson = codec._lesson(contents, Noise("lesson"))
    losses = [lesson.step(k / 30) for k in range(30)]
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])
    learned = []
    for _ in range(2):
        monkeypatch.setattr(restorer, "WORTH", 9.0)
        learned.append(codec.learn(contents[:32], contents[32:], 3, Noise("equip"))[0])
        monkeypatch.setattr(restorer, "WORTH", 0.0)
        assert codec.learn(contents[:32], contents[32:], 3, Noise("equip"))[0] == {}
    tensors, again = learned
    assert all(torch.equal(again[key], value) for key, value in tensors.items())
    spec = codec.views()["grid"].at(time=40)
    x = codec.encode(contents[32:34], spec)
    plain, other = codec.decode(x, spec), Codec()
    other.restore(codec.state)
    other.equip(tensors)
    better = other.decode(x, spec)
    assert not np.array_equal(plain[0].content, better[0].content)
    assert np.array_equal(other.decode(x[1:], spec)[0].content, better[1].content)
