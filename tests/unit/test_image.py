"""The picture codec: canonical forms, views, sizes, writing and reading back."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from mintage.core.errors import BadItem, UsageError
from mintage.core.spec import PAD, Item, Media
from mintage.modalities.image import Codec
from mintage.nn.condition import apart, thinned
from mintage.nn.given import Given
from mintage.nn.noise import Noise
from mintage.nn.pictures import centre_crop, contact_sheet, perceptual_hash
from mintage.nn.twins import twins


def read(path):
    return Codec().read(Item("", path))


def gradient(height, width):
    rows = np.linspace(0, 255, height)[:, None] * np.ones((1, width))
    return np.stack([rows, rows[::-1], np.full_like(rows, 40)], 2).astype(np.uint8)


def test_exif_rotation(tmp_path):
    upright = gradient(20, 30)
    for orientation, turned in ((6, np.rot90(upright)), (3, np.rot90(upright, 2)), (2, upright[:, ::-1])):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(np.ascontiguousarray(turned)).save(tmp_path / "a.png", exif=exif)
        assert np.array_equal(read(tmp_path / "a.png"), upright), orientation


def test_transparency_over_white_in_every_mode(tmp_path):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2, :, 3] = 255  # black above, nothing below
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    grey = Image.fromarray(pixels[..., 0])
    grey.putalpha(Image.fromarray(pixels[..., 3]))
    grey.save(tmp_path / "la.png")
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.paste(0, (0, 0, 4, 2))
    palette.save(tmp_path / "p.png", transparency=1)
    for name in ("rgba", "la", "p"):
        content = read(tmp_path / f"{name}.png")
        assert content.shape == (4, 4)
        assert (content[:2] == 0).all()
        assert (content[2:] == 255).all()


def test_deep_cmyk_animated_and_big(tmp_path):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    assert read(tmp_path / "deep.png").shape == (160, 160)
    assert abs(int(read(tmp_path / "deep.png").mean()) - 127) <= 1
    Image.fromarray(gradient(40, 40)).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert np.abs(read(tmp_path / "print.jpg").astype(int) - gradient(40, 40)).mean() < 4
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "lime")]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    assert tuple(read(tmp_path / "two.gif")[0, 0]) == (255, 0, 0)
    Image.fromarray(gradient(2000, 3000)).save(tmp_path / "big.jpg", quality=90)
    assert read(tmp_path / "big.jpg").shape == (160, 240, 3)


def test_wrong_suffix_is_decoded_by_content_and_refusals_name_the_reason(tmp_path):
    Image.fromarray(gradient(9, 9)).save(tmp_path / "a.jpg", "PNG")
    assert np.array_equal(read(tmp_path / "a.jpg"), gradient(9, 9))
    (tmp_path / "b.jpg").write_text("hello")
    with pytest.raises(BadItem, match="text"):
        read(tmp_path / "b.jpg")


def test_grey_or_colour_is_decided_over_the_set():
    codec, grey, colour = Codec(), np.zeros((8, 8), np.uint8), gradient(8, 8)
    codec.fit([grey] * 100, [{}] * 100)
    assert codec.views()["grid"].shape == (1, 0, 0)
    codec.fit([grey] * 99 + [colour], [{}] * 100)
    assert codec.channels == 1
    codec.fit([grey] * 90 + [colour] * 10, [{}] * 100)
    assert codec.views()["grid"].channels == ("red", "green", "blue")
    again = Codec()
    again.restore(codec.state)
    assert again.state == codec.state


def test_classes_and_captions_become_conditions():
    given = [{"class": "ab"[k % 2], "caption": f"a {'red' if k % 2 else 'blue'} circle"} for k in range(20)]
    given.append({"class": "seen once", "caption": ""})
    codec = Codec()
    codec.fit([gradient(8, 8)] * 21, given)
    specs = codec.conditions()
    assert specs["class"].channels == ("a", "b")
    ids = codec.encode_caption(["a red circle", "", "never seen ☃"], specs["caption"])
    assert ids.shape == (3, specs["caption"].shape[0])
    assert not ids[1].any()
    assert ids.max() < specs["caption"].vocab
    assert "seen once" not in str(codec.state)
    assert specs["caption"].channels == ("a blue circle", "a red circle")


@pytest.mark.parametrize("shape", [(28, 28), (64, 64, 3), (90, 160, 3), (33, 8)])
@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 32)])
def test_encode_any_shape_to_any_size(shape, channels, side):
    codec = Codec()
    spec = codec.views()["grid"].at(channel=channels, height=side, width=side)
    x = codec.encode([np.full(shape, 77, np.uint8)] * 3, spec)
    assert x.shape == (3, channels, side, side)
    assert x.dtype == torch.uint8
    assert (x == 77).all()


def test_reduction_averages_and_crop_is_central():
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    codec = Codec()
    x = codec.encode([board], codec.views()["grid"].at(channel=1, height=16, width=16))
    assert abs(float(x.float().mean()) - 127.5) < 3
    assert float(x.float().std()) < 12  # no moiré
    assert centre_crop(30, 40, 8, 8) == (0, 5, 30, 30)
    assert centre_crop(40, 30, 8, 16) == (12, 0, 15, 30)


def test_decode_write_read_is_exact(tmp_path):
    codec = Codec()
    stored = torch.from_numpy(gradient(12, 12)).movedim(2, 0)[None].repeat(2, 1, 1, 1)
    spec = codec.views()["grid"].at(height=12, width=12)
    media = codec.decode(stored.float() / 127.5 - 1, spec)
    paths = codec.write(media, tmp_path, ["one", "two"])
    assert [path.name for path in paths] == ["one.png", "two.png"]
    assert np.array_equal(read(paths[0]), gradient(12, 12))
    assert len(codec.write(media[:1], tmp_path / "alone", ["one"])) == 1
    assert min(codec.sheet(media).content.shape[:2]) >= 56, "small pictures are enlarged on a page"
    assert contact_sheet([m.content for m in media] * 5).ndim == 3
    assert contact_sheet([np.zeros((56, 56), np.uint8)] * 3).shape == (118, 118)
    assert contact_sheet([np.zeros((4, 4), np.uint8)] * 3).shape == (2 * 56 + 3 * 14, 2 * 56 + 3 * 14)


def test_augment_only_mirrors():
    x = torch.arange(2 * 3 * 4 * 4).view(2, 3, 4, 4)
    out = Codec().augment(x.repeat(50, 1, 1, 1), Codec().views()["grid"], Noise(1))
    kinds = {bool((row == x[k % 2]).all()) for k, row in enumerate(out)}
    assert kinds == {True, False}
    assert all((row == x[k % 2]).all() or (row.flip(2) == x[k % 2]).all() for k, row in enumerate(out))


def test_select():
    spec = Codec().views()["grid"].at(height=40, width=50)
    mask = Codec().select("10,12,30,32", spec)
    assert mask.shape == (40, 50)
    assert mask.sum() == 400
    assert mask[12, 10]
    for wrong in ("10,10", "30,10,10,30", "0,0,60,10", "a,b,c,d"):
        with pytest.raises(UsageError):
            Codec().select(wrong, spec)


def test_adopt_scales_by_what_the_numbers_are():
    codec, draw = Codec(), np.random.default_rng(0)
    bytes_ = draw.integers(0, 256, (5, 6, 7), np.uint8)
    assert codec.adopt(bytes_) is bytes_
    assert np.array_equal(codec.adopt(bytes_ / np.float32(255)), bytes_)
    assert np.array_equal(codec.adopt(bytes_ / np.float32(127.5) - 1), bytes_)
    assert codec.adopt(np.full((2, 3, 4, 4), 0.5, np.float32)).shape == (2, 4, 4)
    assert int(codec.adopt(np.full((1, 8, 8), 8.0, np.float32), 16).max()) == 128
    for wrong in (np.zeros((3, 2, 2, 5), np.uint8), np.zeros((2, 4, 4), complex), np.full((1, 2, 2), np.nan)):
        with pytest.raises(BadItem):
            codec.adopt(wrong)


def test_near_copies_are_found_and_different_items_are_not(tmp_path):
    from sklearn.datasets import load_digits

    digits = [np.rint(image * 255 / 16).astype(np.uint8) for image in load_digits().images]
    assert (twins(perceptual_hash(digits), digits) == np.arange(len(digits))).all()
    draw = np.random.default_rng(3)
    photos = []
    for _ in range(120):
        rough = draw.integers(0, 256, (9, 9, 3), np.uint8)
        photos.append(np.asarray(Image.fromarray(rough).resize((120, 100), Image.Resampling.BICUBIC)))
    for k, photo in enumerate(photos):
        Image.fromarray(photo).resize((96, 80)).save(tmp_path / f"{k}.jpg", quality=60)
    copies = [read(tmp_path / f"{k}.jpg") for k in range(120)]
    everything = photos + copies
    heads = twins(perceptual_hash(everything), everything)
    assert (heads[:120] == np.arange(120)).all()
    assert (heads[120:] == np.arange(120)).mean() >= 0.99
    assert Media(photos[0], "image/png", ".png").suffix == ".png"


def test_long_captions_lose_pieces_in_training_and_short_ones_none():
    ids = torch.full((2, 60), 7)
    ids[1, 12:] = PAD
    found = thinned({"caption": ids, "class": torch.tensor([1, 2])}, Noise("thin"))
    assert 8 < int((found["caption"][0] == PAD).sum()) < 32
    assert torch.equal(found["caption"][1], ids[1])
    assert torch.equal(found["class"], torch.tensor([1, 2]))
    assert thinned({"class": ids}, Noise("thin")).keys() == {"class"}


def test_where_there_are_both_a_tenth_of_the_rows_keep_their_class_alone():
    both = {"caption": torch.full((400, 3), 7), "class": torch.arange(400)}
    found = apart(both, Noise("apart"))
    alone = (found["caption"] == PAD).all(1)
    assert 20 <= int(alone.sum()) <= 60
    assert torch.equal(found["caption"][~alone], both["caption"][~alone])
    assert torch.equal(found["class"], both["class"])
    assert torch.equal(apart({"caption": both["caption"]}, Noise("apart"))["caption"], both["caption"])


def test_words_that_several_captions_use_go_with_the_model_and_no_others():
    given = Given()
    given.fit([{"caption": text} for text in ["A red car", "a red boat", "The Red car", "a car", "secret", "a boat"]])
    assert given.words == ("a", "car", "red")
    back = Given()
    back.restore(json.loads(json.dumps(given.state)))
    assert back.strange("A RED secret boat, car") == ["secret", "boat"]
    given.fit([{"caption": "红色的汽车"}, {"caption": "蓝色的船"}, {"caption": "红色的船"}])
    assert given.words == ()
    assert given.strange("斑马") == []
