"""Tunes: tables of notes, MIDI files and lists of chords in, tokens and back, transposed copies, sound, labels, damage."""

import json
import wave

import numpy as np
import pytest
import torch
from specimens import tune

from mintage import trust
from mintage.core.errors import BadItem, UsageError
from mintage.core.spec import BOS, EOS, Evidence, Item, Media, Sample, Spec
from mintage.core.store import content_hash
from mintage.metrics import form, melody, pitchclass, wellformed
from mintage.modalities.music import Codec
from mintage.nn import events, midi, roll, steps, synth
from mintage.nn.copies import Verbatim
from mintage.nn.events import METRES, PITCHES, Layout
from mintage.nn.noise import Noise
from mintage.nn.tune import (
    BAR,
    DRUMS,
    PITCH,
    VOICE,
    barred,
    bars,
    classes,
    joined,
    keys,
    metre,
    notes,
    seconds,
    shape,
    tidy,
)
from mintage.verbs.generate import generate
from mintage.verbs.inspect import inspect
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

CARD = {"recipe": {"data": "tunes", "family": "gpt", "task": "generate"}, "mintage": "0.1", "model_hash": "abc"}


def folder(path, n=40):
    """MIDI files in three metres and several keys."""
    path.mkdir(exist_ok=True)
    for k in range(n):
        own = tune(k, *[(4, 4), (3, 4), (6, 8)][k % 3], low=60 + k % 5)
        (path / f"{'jig' if k % 3 == 2 else 'reel'}{k}.mid").write_bytes(midi.write(own))
    return path


def fitted(n=30):
    codec = Codec()
    codec.fit([tune(k, low=60 + k % 5) for k in range(n)], [{}] * n)
    return codec


def test_a_tune_survives_midi_and_tokens_exactly():
    for metre_ in ((4, 4), (3, 4), (6, 8), (5, 4), (7, 8)):
        own = tune(1, *metre_)
        assert np.array_equal(midi.read(midi.write(own)), own)
        assert metre(own) == metre_
        layout = Layout((0, 0), loud=True, paced=True)
        again = layout.decode([BOS, *layout.encode(own), EOS, 99])
        assert np.array_equal(again[:, :3], own[:, :3])
        assert np.array_equal(again[:, VOICE], own[:, VOICE])


def test_upbeats_changes_of_metre_triplets_and_drums():
    frame = barred([(0, 1, 4), (24, 4, 4), (216, 3, 4)], [(0, 90), (120, 140)], 400)
    assert bars(frame)[:, :2].tolist() == [[0, 24], [24, 96], [120, 96], [216, 72], [288, 72], [360, 72]]
    rows = [(0, 24, 67, 90, 0, 0), (24, 8, 60, 90, 0, 0), (32, 8, 62, 90, 0, 0), (40, 8, 64, 90, 0, 0), (330, 40, 40, 90, 0, 0)]
    rows += [(24 * k, 3, 36, 110, 1, DRUMS) for k in range(14)]
    own = joined(frame, np.array(rows, np.int32))
    assert np.array_equal(midi.read(midi.write(own)), own)
    codec = Codec()
    codec.fit([own], [{}])
    again = codec.decode(codec.encode([own], codec.views()["tokens"]), codec.views()["tokens"])[0].content
    assert np.array_equal(notes(again)[:, :3], notes(own)[:, :3])
    assert (notes(again)[notes(again)[:, 5] == DRUMS, PITCH] == 36).sum() == 14
    cut = joined(barred([(0, 4, 4), (60, 3, 4)], [], 200), np.array([[0, 60, 60, 90, 0, 0], [60, 90, 62, 90, 0, 0]], np.int32))
    assert np.array_equal(midi.read(midi.write(cut)), cut), "a bar that is cut short keeps its length"


def test_no_note_sounds_twice_at_once():
    rows = np.array([[0, 50, 60, 90, 0, 0], [20, 10, 60, 90, 0, 0], [20, 30, 60, 90, 0, 0], [20, 10, 60, 90, 1, 0]], np.int32)
    assert tidy(rows)[:, :5].tolist() == [[0, 20, 60, 90, 0], [20, 30, 60, 90, 0], [20, 10, 60, 90, 1]]


def test_any_ids_are_a_valid_file():
    rng = np.random.default_rng(0)
    layout = Layout((0, 40, DRUMS), loud=True, paced=True)
    for _ in range(60):
        own = layout.decode(rng.integers(0, layout.vocab, 300).tolist())
        again = midi.read(midi.write(own, "AI"), empty=True)
        assert np.array_equal(again, own)
        assert (notes(own)[:, 1] > 0).all()
        assert ((notes(own)[:, PITCH] >= 0) & (notes(own)[:, PITCH] < 128)).all()
        assert (np.diff(bars(own)[:, 0]) == bars(own)[:-1, 1]).all()
    assert (4, 4) in METRES


def test_loudness_and_tempo_are_said_only_where_they_vary():
    plain = fitted()
    assert not plain.layout.paced
    loud = Codec()
    varied = []
    for k in range(10):
        own = tune(k)
        own[own[:, PITCH] != BAR, 3] = 40 + 5 * k + 3 * np.arange((own[:, PITCH] != BAR).sum()) % 50
        own[own[:, PITCH] == BAR, 5] = 60 + 10 * k
        varied.append(own)
    loud.fit(varied, [{}] * 10)
    assert loud.layout.loud
    assert loud.layout.paced
    spec = loud.views()["tokens"]
    again = loud.decode(loud.encode(varied[3:4], spec), spec)[0].content
    assert bars(again)[0, 5] == 90
    assert abs(notes(again)[:, 3] - notes(varied[3])[:, 3]).max() <= 8


def test_what_fit_learned_comes_back():
    one, other = fitted(), Codec()
    other.restore(json.loads(json.dumps(one.state)))
    assert other.state == one.state
    spec = one.views()["tokens"]
    assert torch.equal(other.encode([tune(5)], spec), one.encode([tune(5)], spec))
    assert set(one.forbid).isdisjoint(one.encode([tune(5)], spec).flatten().tolist())
    assert PITCHES in one.forbid, "nobody plays the lowest note there is"


def test_transposed_tunes_keep_their_steps_their_range_and_the_shares_of_keys():
    codec = fitted(60)
    spec = codec.views()["tokens"]
    x = codec.encode([tune(k, low=60) for k in range(200)], spec).long()
    twins = codec.augment(x, spec, Noise("test"))
    moved = (twins != x).any(1)
    assert 0.4 < moved.float().mean() < 0.95
    for before, after in zip(codec.decode(x[:20], spec), codec.decode(twins[:20], spec), strict=True):
        assert shape(before.content) == shape(after.content)
    low = min(int(notes(m.content)[:, PITCH].min()) for m in codec.decode(twins, spec))
    high = max(int(notes(m.content)[:, PITCH].max()) for m in codec.decode(twins, spec))
    assert low >= codec.ranges[1][0]
    assert high <= codec.ranges[0][1]
    found = np.bincount(keys(np.stack([classes(m.content) for m in codec.decode(twins, spec)])) % 12, minlength=12) / 200
    assert found[:5].sum() > 0.9, "keys that the data lacks stay rare"
    assert torch.equal(twins, codec.augment(x, spec, Noise("test")))


def test_copies_are_found_in_whatever_key():
    codec = fitted()
    spec = codec.views()["tokens"]
    rows = codec.encode([tune(k) for k in range(8)], spec).long()
    search = Verbatim(codec.passages(rows, spec))
    other = tune(3, low=65)
    [(_, length)] = search.longest(codec.passages(codec.encode([other], spec).long(), spec))
    assert length > 25
    [(_, length)] = search.longest(codec.passages(codec.encode([tune(999)], spec).long(), spec))
    assert length < 15 + 18, "the chords alone are the same"
    prints = codec.fingerprint([tune(3), tune(3, low=66), tune(4)]).view(np.uint32)
    assert (prints[0] == prints[1]).all()
    assert (prints[0] == prints[2]).mean() < 0.8


def test_keys_are_told():
    major = np.zeros(12)
    major[[0, 2, 4, 5, 7, 9, 11]] = [4, 2, 3, 2, 3, 2, 1]
    assert keys(np.stack([major, np.roll(major, 7)])).tolist() == [0, 7]


def test_chords_in_json(tmp_path):
    apart = [[72, 67, 64, 48]] * 4 + [[74, 67, 65, -1]] * 4
    (tmp_path / "chorales16th.json").write_text(json.dumps({"train": [apart], "valid": [apart[:5]]}))
    path = tmp_path / "chorales16th.json"
    codec = Codec()
    assert codec.claims(path)
    items = list(codec.items(path))
    assert [item.split for item in items] == ["train", "valid"]
    own = codec.read(items[0])
    assert notes(own)[:, :3].tolist() == [[0, 24, 72], [0, 48, 67], [0, 24, 64], [0, 24, 48], [24, 24, 74], [24, 24, 65]]
    assert notes(own)[:, VOICE].tolist() == [0, 1, 2, 3, 0, 2]
    assert np.array_equal(codec.read(items[0]), own), "a second reading opens the file again"
    (tmp_path / "quarter.json").write_text(json.dumps([[[60, 64, 67], [60, 65], []]]))
    one = codec.read(next(iter(codec.items(tmp_path / "quarter.json"))))
    assert notes(one)[:, :3].tolist() == [[0, 48, 60], [0, 24, 64], [0, 24, 67], [24, 24, 65]]
    for text in ('{"text": "words"}', '[{"text": "a"}]', '["a", "b"]', "", "[1, 2, 3]"):
        (tmp_path / "other.json").write_text(text)
        assert not codec.claims(tmp_path / "other.json")
    for piece in ([[60.5]], [[200]], [["a"]], "x", [[]], [[-1, -1]], [[float("nan")]]):
        with pytest.raises(BadItem):
            steps.tune(piece, 6)


def damaged(rng, data):
    """A file broken in one of many ways."""
    data = bytearray(data)
    way = int(rng.integers(8))
    at = int(rng.integers(len(data)))
    if way == 0:
        return bytes(data[:at])
    if way == 1:
        return b""
    if way == 2:
        return bytes(len(data))
    if way == 3:
        data[at : at + 8] = rng.integers(0, 256, 8, np.uint8).tobytes()
    elif way == 4:
        data[int(rng.integers(14))] ^= int(rng.integers(1, 256))
    elif way == 5:
        data[18:22] = b"\xff\xff\xff\x7f"  # a track that claims gigabytes
    elif way == 6:
        data[12:14] = b"\xe7\x28"  # film frames
    else:
        return rng.integers(0, 256, 500, np.uint8).tobytes()
    return bytes(data)


def test_damaged_files_are_refused_with_a_reason(tmp_path):
    rng = np.random.default_rng(7)
    codec, reasons = Codec(), set()
    for k in range(100):
        path = tmp_path / f"{k}.mid"
        path.write_bytes(damaged(rng, midi.write(tune(k))))
        try:
            assert len(notes(codec.read(Item("", path)))) > 0
        except BadItem as error:
            reasons.add(str(error).split("(")[0])
    assert len(reasons) >= 4
    empty = midi.write(np.zeros((0, 6), np.int32))
    with pytest.raises(BadItem, match="no notes"):
        midi.read(empty)
    late = tune(1)
    late[-1, 0] = 30_000_000
    with pytest.raises(BadItem, match="limit"):
        midi.read(midi.write(late))


def test_it_sounds():
    own = joined(barred([(0, 4, 4)], [(0, 120)], 96), np.array([[0, 48, 69, 100, 0, 0]], np.int32))
    sound = synth.render(own)
    assert 2.0 < len(sound) / synth.RATE < 3.0
    assert 0.8 < np.abs(sound).max() <= 0.9
    assert np.abs(sound[-5:]).max() < 0.001, "no click at the end"
    spectrum = np.abs(np.fft.rfft(sound[: synth.RATE, 0]))
    assert abs(int(spectrum.argmax()) - 440) <= 1
    assert np.array_equal(synth.render(own), sound)
    assert not synth.render(np.zeros((0, 6), np.int32)).any()
    drums = joined(barred([], [], 96), np.array([[12 * k, 6, 35 + k, 100, 0, DRUMS] for k in range(8)], np.int32))
    assert np.isfinite(synth.render(drums)).all()
    assert len(synth.render(tune(0, count=40), most=5.0)) == 5 * synth.RATE


def test_it_is_seen_and_played():
    codec = fitted()
    media = Media(tune(0, count=40), "audio/midi", ".mid")
    page = codec.look(media)
    assert page.dtype == np.uint8
    assert page.shape[2] == 3
    assert len(np.unique(page.reshape(-1, 3), axis=0)) >= 4
    mime, data = codec.play(media)
    assert mime == "audio/mpeg"
    assert len(data) > 10_000
    assert codec.look(Media(np.zeros((0, 6), np.int32), "audio/midi", ".mid")).shape[2] == 3


def test_files_say_that_they_were_made_by_ai(tmp_path):
    own = tune(4)
    made = [Sample(Media(own, "audio/midi", ".mid"), k, content_hash(own)) for k in range(2)]
    paths, _ = trust.release(made, "file", CARD, None, tmp_path, Codec())
    assert [path.suffix for path in paths] == [".mid", ".mid", ".wav", ".wav"]
    assert [trust.verify(path).verdict for path in paths] == ["compliant"] * 4, [trust.verify(path).line for path in paths]
    with wave.open(str(paths[2])) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, synth.RATE)
    paths[0].write_bytes(midi.write(own))
    assert trust.verify(paths[0]).verdict == "noncompliant", "the label is gone"
    other = own.copy()
    other[-1, PITCH] += 1
    paths[0].write_bytes(midi.write(other, "AI生成 / AI-generated"))
    assert trust.verify(paths[0]).verdict == "noncompliant", "a note was changed"
    paths[1].write_bytes(b"MThd")
    assert trust.verify(paths[1]).verdict == "inconclusive"


def test_a_folder_of_tunes_becomes_a_generator(tmp_path, runs):
    data = folder(tmp_path / "tunes")
    (data / "broken.mid").write_bytes(b"MThd\0\0")
    found = inspect(str(data))
    assert found.modality == "music"
    assert len(found.items) == 40
    assert any("broken.mid" in line for line in found.summary)
    options = ("steps=12", "width=32", "layers=1", "heads=1", "pairs=64", "length=64", "class=name")
    run = train(Wish(str(data), options=options)).run
    made = generate(str(run), n=2, options=("length=80",), given={"class": "jig"})
    again = generate(str(run), n=1, seed=1, options=("length=80",), given={"class": "jig"})
    assert made.hashes[1] == again.hashes[0]
    assert trust.verify(made.paths[0]).verdict == "compliant"
    scene = generate(str(run), n=1, options=("length=80", "tempo=70", "seconds=12"))
    assert seconds(midi.read(scene.paths[0].read_bytes())) == pytest.approx(12, rel=0.02)
    first = data / "jig2.mid"
    grown = generate(str(run), n=1, prompt=f"{first}#1-2", options=("length=40",))
    own = midi.read(grown.paths[0].read_bytes())
    begun = notes(midi.read(first.read_bytes()))
    begun = begun[begun[:, 0] < 144]
    assert np.array_equal(notes(own)[: len(begun), [0, 2]], begun[:, [0, 2]])  # what follows may strike a held pitch again
    for prompt in ("nowhere.mid", f"{first}#x", f"{first}#90-99"):
        with pytest.raises(UsageError):
            generate(str(run), n=1, prompt=prompt)


def evidence(codec, made, test):
    spec = codec.views()["tokens"]
    made, test = (codec.encode(side, spec).long() for side in (made, test))
    return Evidence(spec, made, {}, test, test, test, {}, None, None, Noise("judge"), {"codec": codec})


def scores(metric, *given):
    return {score.name: score for score in metric.Metric()(evidence(*given))}


def test_what_is_counted_of_tunes_tells_real_from_wrong():
    codec = fitted()
    real, other = [tune(k) for k in range(40)], [tune(100 + k) for k in range(40)]
    rng = np.random.default_rng(0)
    wrong = []
    for own in real:
        own = own.copy()
        rows = (own[:, PITCH] != BAR) & (own[:, VOICE] == 0)
        own[rows, PITCH] = rng.integers(60, 73, rows.sum())  # notes of no scale
        own[rows, 1] = rng.integers(1, 12, rows.sum())
        wrong.append(own)
    same, apart = scores(pitchclass, codec, other, real), scores(pitchclass, codec, wrong, real)
    assert same["pitch-class overlap"].value > 0.95 > apart["pitch-class overlap"].high
    assert apart["pitch classes a bar"].low > same["pitch classes a bar"].high
    same, apart = scores(melody, codec, other, real), scores(melody, codec, wrong, real)
    assert same["interval overlap"].value > 0.93 > apart["interval overlap"].high
    assert same["duration overlap"].value > 0.97
    assert apart["duration overlap"].high < 0.6
    looped = [
        np.concatenate([own[own[:, 0] < 96], np.r_[own[own[:, 0] < 96]] + [96, 0, 0, 0, 0, 0]]).astype(np.int32) for own in real
    ]
    assert scores(form, codec, looped, real)["bar self-similarity"].value == pytest.approx(1)
    assert scores(form, codec, other, real)["bar self-similarity"].high < 0.5
    quiet = [own[(own[:, VOICE] == 0) | (own[:, 0] < 96) | (own[:, PITCH] == BAR)] for own in real]
    assert scores(form, codec, other, real)["empty bars"].value == 0
    assert scores(form, codec, quiet, real)["empty bars"].value == pytest.approx(5 / 12)
    assert scores(wellformed, codec, other, real)["well-formed"].value == 1
    for metric in (pitchclass, melody, form, wellformed):
        assert (
            metric.Metric.refuse(Spec("grid", (1, 8, 8), ("channel", "height", "width")), 99).endswith("tunes")
            or metric is wellformed
        )
    assert form.Metric.refuse(codec.views()["tokens"], 3)


def test_slips_are_counted():
    codec = fitted()
    spec = codec.views()["tokens"]
    row = codec.encode([tune(1)], spec)[0].tolist()
    assert wellformed.slips(row) == 0
    assert wellformed.slips(row[:3] + row[2:]) >= 1, "a place twice"
    length = max(i for i, t in enumerate(row) if events.LASTS <= t < events.VOLUMES and events.PLACES <= row[i + 1] < events.LASTS)
    assert wellformed.slips(row[:length] + row[length + 1 :]) >= 1, "a pitch without a length"
    assert wellformed.slips(row[20:]) <= 1, "a passage begins anywhere"


def test_a_roll_keeps_notes_repeats_and_held_ones():
    rows = [(0, 24, 60, 90, 0, 0), (24, 24, 60, 90, 0, 0), (48, 12, 64, 90, 0, 0), (60, 36, 65, 90, 0, 0), (0, 96, 48, 90, 1, 0)]
    rows += [(0, 96, 52, 90, 1, 0)]
    own = joined(barred([(0, 4, 4)], [], 96), np.array(rows, np.int32))
    frame = roll.fit([own] * 3, (4, 4), (0, 0), 90, 120)
    assert frame.single == (True, False)
    assert frame.full == (True, False)
    assert (frame.bases, frame.step, frame.bar, frame.bars) == ((60, 48), 12, 8, 4)
    fine = own.copy()
    fine[:, 0] += 6 * (fine[:, PITCH] > 60)
    assert roll.fit([fine], (4, 4), (0, 0), 90, 120).step == 6
    cells = frame.encode(own, 8)
    assert cells.shape == (2, 16, 8)
    again = frame.decode(cells / 127.5 - 1)
    assert np.array_equal(again, own)
    both = cells / 127.5 - 1
    both[0, 7, 2:4] = 0.3  # fainter than what the voice sings already
    assert np.array_equal(frame.decode(both), own)
    faint = both - 1.5
    faint[1] = -1
    assert notes(frame.decode(faint))[:, :3].tolist() == [[0, 48, 60], [48, 12, 64], [60, 36, 65]], "it never rests"
    wide = own.copy()
    wide[wide[:, PITCH] == 64, PITCH] = 100
    assert frame.encode(wide, 8).any((1, 2)).all()


def test_a_line_does_not_flicker_and_keeps_short_notes():
    cells = np.full((8, 6), -1.0, np.float32)
    cells[2], cells[5, 3], cells[2, 3] = 0.5, 0.6, 0.2
    assert roll.line(cells, full=True).tolist() == [2] * 6
    cells[5, 3], cells[2, 3] = 1.0, -1.0
    assert roll.line(cells, full=True).tolist() == [2, 2, 2, 5, 2, 2]
    cells[5, 3], cells[2, 3] = -1.0, -0.5
    assert roll.line(cells, full=False).tolist() == [2, 2, 2, 2, 2, 2], "a dip of one step is no rest"
    cells[2, 3:] = -1.0
    assert roll.line(cells, full=False).tolist() == [2, 2, 2, 8, 8, 8]


def test_rolls_are_cut_transposed_and_written():
    codec = fitted(40)
    codec.configure({"view": "roll"})
    spec = codec.sized(codec.views()["roll"], {}, 5, "2")
    assert spec.size("time") == 16
    own = tune(3, count=6)
    parts = codec.cut(own, spec)
    assert len(parts) == 5
    assert np.array_equal(notes(parts[2])[:, PITCH], notes(own)[(notes(own)[:, 0] >= 192) & (notes(own)[:, 0] < 384), PITCH])
    x = codec.encode([part for k in range(20) for part in codec.cut(tune(k), spec)], spec).float() / 127.5 - 1
    twins = codec.augment(x, spec, Noise("roll"))
    assert ((twins != x).flatten(1).any(1)).float().mean() > 0.3
    assert torch.equal((twins > 0).sum((2, 3)), (x > 0).sum((2, 3))), "nothing leaves its window"
    for before, after in zip(codec.decode(x, spec), codec.decode(twins, spec), strict=True):
        assert np.array_equal(np.diff(notes(before.content)[:, PITCH]), np.diff(notes(after.content)[:, PITCH]))
    for size in ("0", "33", "2x2", "x"):
        with pytest.raises(UsageError):
            codec.sized(spec, {}, 5, size)
    with pytest.raises(UsageError):
        codec.configure({"view": "score"})


def test_a_network_learns_rolls(tmp_path, runs):
    run = train(Wish(str(folder(tmp_path / "tunes", 24)), "vae", size="2", options=("steps=8", "width=16"))).run
    made = generate(str(run), n=2)
    assert [path.suffix for path in made.paths] == [".mid", ".mid", ".wav", ".wav"]
    assert all(trust.verify(path).verdict == "compliant" for path in made.paths)


def test_a_tune_to_go_on_from_and_what_is_no_part_of_it(tmp_path):
    codec, path = fitted(), tmp_path / "C#-dance.mid"
    path.write_bytes(midi.write(tune(3, count=6)))
    whole, two = codec.begun(str(path), fills=False), codec.begun(f"{path}#2-3", fills=False)
    assert two.shape[1] < whole.shape[1]
    for part in ("0-2", "4-2", "x", "voice=9"):
        with pytest.raises(UsageError):
            codec.begun(f"{path}#{part}", fills=True)
    with pytest.raises(UsageError):
        codec.begun("nothing", fills=False)


def test_another_harmony_keeps_the_melody(tmp_path, runs):
    data = folder(tmp_path / "tunes", 24)
    run = train(Wish(str(data), "masked", options=("steps=10", "width=32", "layers=1", "heads=1", "length=96"))).run
    path = tmp_path / "mine.mid"  # a tune that it learned from would be held back as a copy
    path.write_bytes(midi.write(tune(500)))
    own = notes(tune(500))
    made = notes(midi.read(generate(str(run), n=1, prompt=f"{path}#voice=2").paths[0].read_bytes()))
    assert np.array_equal(made[made[:, VOICE] == 0, :3], own[own[:, VOICE] == 0, :3])
    assert (made[:, VOICE] == 1).any()
    assert not np.array_equal(made[made[:, VOICE] == 1, PITCH], own[own[:, VOICE] == 1, PITCH])
