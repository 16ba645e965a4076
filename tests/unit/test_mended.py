"""Sound files whose header does not know how long they are."""

import av
import numpy as np
import pytest
import soundfile
from specimens import tone

from mintage.core.errors import BadItem
from mintage.core.spec import Item
from mintage.modalities.sound import Codec
from mintage.nn import recordings
from mintage.nn.noise import Noise
from mintage.nn.waves import as_floats


@pytest.mark.parametrize(("rate", "how"), [
    (44100, {"bit_rate": 128000}), (48000, {"bit_rate": 64000}), (22050, {"bit_rate": 32000}), (8000, {"bit_rate": 24000}),
    (44100, {"options": {"global_quality": "472", "flags": "+qscale"}}),
])  # fmt: skip
@pytest.mark.parametrize("tags", ["0", "3"])
def test_an_mp3_that_does_not_count_its_frames(tmp_path, rate, how, tags):
    wave = (0.2 * Noise("mp3", rate).normal((6 * rate,)).numpy()).astype(np.float32)
    wave[: 2 * rate] *= 0.001  # a softer beginning, which at a free bit rate is much smaller
    path = mp3(tmp_path / "a.mp3", wave, rate, tags, **how)
    codec = Codec()
    found = codec.read(*codec.items(path))
    spare = 0.1 * 24000  # what the encoder adds at both ends
    assert 4 * 24000 - spare < len(found) < 6 * 24000 + spare
    heard = as_floats(found[-3 * 24000 : -24000])
    assert 0.1 < heard.std() < 0.3, "the loud end is there"
    with recordings.opened(path) as sound:
        assert len(wave) <= sound.frames < len(wave) + 3 * 1152
        last = recordings.stretch(sound, sound.frames - 2 * rate, rate)
    with recordings.opened(path) as sound:
        whole = recordings.stretch(sound, 0, sound.frames)
    assert np.abs(whole[-2 * rate : -rate] - last)[6000:].max() < 1e-3, (
        "a piece is what it is in the whole, once its decoder is warm"
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert len(codec.read(*codec.items(path))) > 24000 / 2


def mp3(path, wave, rate, tags, bit_rate=0, options=None):
    """Without the frame that counts the others, as programs write that cannot go back."""
    with av.open(str(path), "w", format="mp3", options={"write_xing": "0", "id3v2_version": tags}) as container:
        stream = container.add_stream("libmp3lame", rate=rate, options=options or {})
        stream.layout = "mono"
        if bit_rate:
            stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        fifo = av.AudioFifo()
        fifo.write(frame)
        while (part := fifo.read(stream.codec_context.frame_size or 1152, partial=True)) is not None:
            part.pts = None
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    assert not any(word in path.read_bytes() for word in (b"Xing", b"Info"))
    return path


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_wav_from_a_program_that_cannot_go_back(tmp_path, size):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(300, 0.5), 8000)
    data = bytearray(path.read_bytes())
    data[4:8], data[40:44] = min(size + 36, 0xFFFFFFFF).to_bytes(4, "little"), size.to_bytes(4, "little")
    path.write_bytes(data)
    assert abs(len(Codec().read(Item("", path))) - 12000) < 1000
    path.write_bytes(data[:44])
    with pytest.raises(BadItem):
        Codec().read(Item("", path))
    data[4:8], data[40:44] = (36 + 8 + 4000).to_bytes(4, "little"), bytes(4)  # no sound, and after it another chunk
    path.write_bytes(data[:44] + b"LIST" + (4000).to_bytes(4, "little") + bytes(4000))
    with pytest.raises(BadItem, match="no sound"):
        Codec().read(Item("", path))
