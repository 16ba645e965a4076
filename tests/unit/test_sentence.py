"""Codes of sentences: words as pieces, texts that come back from their codes, points between them, a bound that holds."""

import pytest
import torch

from mintage.core.protocols import Calibrates, Latent, Scores
from mintage.core.spec import BOS, EOS, PAD, Batch, Spec
from mintage.families.vae import Config, Model
from mintage.modalities.text import Codec
from mintage.nn.noise import Noise
from mintage.nn.pieces import Pieces
from mintage.nn.sentence import gathered, used
from mintage.nn.trainer import Clock, Trainer, Training

WHO = ("A man", "A woman", "A dog", "Two boys", "The old king", "A painter", "My sister", "Some people")
DOES = ("sees", "paints", "likes", "follows", "holds", "forgets")
WHAT = ("a red ball", "the river", "an apple", "a green hat", "the sea", "a horse", "two birds", "an open book")
TEXTS = [f"{who} {does} {what}." for who in WHO for does in DOES for what in WHAT]
CHINESE = ["春眠不覺曉，處處聞啼鳥。", "夜來風雨聲，花落知多少。", "白日依山盡，黃河入海流。"] * 4


def ids_of(texts):
    codec = Codec()
    codec.fit(texts, [{}] * len(texts))
    x = codec.encode(texts, codec.views()["tokens"].at(token=0)).long()
    return codec, x


def batch(x):
    return Batch(x, {}, torch.ones(len(x)), used(x))


@pytest.fixture(scope="module")
def learned():
    """A model of two thirds of the sentences, and the others."""
    codec, x = ids_of(TEXTS)
    held = torch.arange(len(x)) % 3 == 0
    target = codec.views()["tokens"].at(token=x.shape[1])
    config = Config(latent=16, width=64, depth=1, beta=0.05, anneal=0.3, pieces=100)
    with Noise("sentence").seeded():
        model, shadow = Model(target, {}, config), Model(target, {}, config)
    model.settle(batch(row[None]) for row in x[~held])
    steps = 80
    trainer = Trainer(model, Training(batch=64, lr=0.02, decay=0.6), Clock(steps), seed=1)
    for step in range(steps):
        trainer.step(step, lambda noise: batch(x[~held][noise.integers(0, int((~held).sum()), (64,))]))
    shadow.load_state_dict(trainer.averaged())
    shadow.eval()
    shadow.calibrate((batch(row[None, : used(row[None])]) for row in x[~held]), [batch(x[held])])
    return codec, shadow, x[~held], x[held]


def words(codec, ids):
    return [str(media.content).split() for media in codec.decode(ids, Spec("tokens", (0,), ("token",)))]


def shared(a, b):
    """Share of the words of ``a`` that stand in ``b`` at the same place."""
    return sum(x == y for s, t in zip(a, b, strict=True) for x, y in zip(s, t, strict=False)) / sum(map(len, a))


@pytest.mark.parametrize("texts", [TEXTS, CHINESE, ["aaaa b", "", " ", "a, b, c. d"] * 5])
def test_pieces_spell_what_they_were_made_from(texts):
    _, x = ids_of(texts)
    pieces = Pieces(int(x.max()) + 1, 64)
    before, _ = pieces.encode(x, used(x))
    assert torch.equal(before, x), "before fit every id is a piece"
    pieces.fit([batch(x)])
    found, count = pieces.encode(x, used(x))
    assert torch.equal(pieces.decode(found), x)
    assert count.sum() <= used(x).sum()
    copy = Pieces(int(x.max()) + 1, 64)
    copy.load_state_dict(pieces.state_dict())
    assert torch.equal(copy.encode(x, used(x))[0], found)


def test_words_become_pieces_and_nothing_rare_does():
    codec, x = ids_of([*TEXTS, "A quetzalcoatlus sees the sea.", "A quetzalcoatlus likes the sea."])
    pieces = Pieces(codec.views()["tokens"].vocab, 200)
    pieces.fit([batch(x)])
    _, count = pieces.encode(x[:-2], used(x[:-2]))
    assert count.float().mean() < 12, "words and their full stop, not letters"
    spelled = {b"".join(codec.vocabulary.spelled[i] for i in pieces.spelling(k)).decode() for k in range(pieces.vocab, len(pieces))}
    assert " sees" in spelled
    assert not any("quetzal" in text for text in spelled)


def test_the_words_of_a_base_stay():
    _, x = ids_of(TEXTS)
    first, second = Pieces(int(x.max()) + 1, 64), Pieces(int(x.max()) + 1, 64)
    first.fit([batch(x)])
    second.take(first.state_dict(), "")
    second.fit([batch(x[:50])])
    assert torch.equal(second.encode(x, used(x))[0], first.encode(x, used(x))[0])


def test_chinese_has_no_space_and_stays_as_it_is():
    _, x = ids_of(CHINESE)
    pieces = Pieces(int(x.max()) + 1, 64)
    pieces.fit([batch(x)])
    assert len(pieces.merges) == 0


def test_texts_come_back_from_their_codes(learned):
    codec, model, _, held = learned
    assert isinstance(model, Latent)
    assert isinstance(model, Calibrates)
    mean, logvar = model.net.encode(held, {})
    assert 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean() >= 3
    code = model.encode(held)
    assert code.shape == (len(held), *model.latent.shape)
    told = words(codec, held)
    again = words(codec, model.decode(code))
    assert shared(told, again) > 0.75
    assert shared(told, again[17:] + again[:17]) < 0.4


def test_halfway_between_two_texts_is_another(learned):
    codec, model, _, held = learned
    code = model.encode(held[:20])
    ends = words(codec, model.decode(code))
    middle = words(codec, model.decode((code[:10] + code[10:]) / 2))
    new = [m for m, a, b in zip(middle, ends[:10], ends[10:], strict=True) if m not in (a, b)]
    assert len(new) >= 6
    known = {word for text in TEXTS for word in text.split()}
    assert sum(word in known for text in middle for word in text) > 0.8 * sum(map(len, middle))


def test_samples_are_sentences_and_the_bound_knows_them(learned):
    codec, model, _, held = learned
    *_, x = model.sample({}, Noise.rows_of(range(40)), {})
    texts = words(codec, x)
    known = {word for text in TEXTS for word in text.split()}
    assert sum(word in known for text in texts for word in text) > 0.8 * sum(map(len, texts))
    assert len({" ".join(text) for text in texts}) > 20
    assert isinstance(model, Scores)
    own = model.log_prob(batch(held))
    turned = held.clone()
    for row, n in zip(turned, used(held).tolist(), strict=True):
        row[1 : n - 1] = row[1 : n - 1].flip(0)
    assert own.mean() > -30 > model.log_prob(batch(turned)).mean()


def test_what_was_made_has_a_code_too(learned):
    """Samples come without a begin; their codes are those of the same texts in the data."""
    _, model, _, held = learned
    assert torch.equal(model.encode(held[:9]), model.encode(held[:9, 1:]))


def test_a_text_alone_is_the_text_among_others(learned):
    """One row runs in numpy from the cache, many in tensors: the hint of each place must reach both alike."""
    _, model, _, held = learned
    code = model.encode(held[:6])
    together = model.decode(code)
    for k in range(6):
        alone = model.decode(code[k : k + 1])[0]
        assert torch.equal(alone, together[k, : len(alone)])


def test_prompt_stop_and_length(learned):
    codec, model, _, _ = learned
    spec = Spec("tokens", (0,), ("token",))
    prompt = codec.encode(["The old"], spec)[:, :-1].long()
    *_, x = model.sample({"prompt": prompt.expand(4, -1)}, Noise.rows_of(range(4)), {})
    assert torch.equal(x[:, : prompt.shape[1]], prompt.expand(4, -1))
    assert all(text[:2] == ["The", "old"] for text in words(codec, x))
    *_, x = model.sample({}, Noise.rows_of(range(4)), {"length": 7})
    assert x.shape[1] <= 7
    stop = tuple(codec.encode(["e"], spec)[0, 1:-1].tolist())
    *_, x = model.sample({}, Noise.rows_of(range(4)), {"stop": (stop,)})
    assert all((row == stop[0]).sum() <= 1 for row in x)
    *_, x = model.sample({}, Noise.rows_of(range(4)), {"forbid": stop})
    assert not (x == stop[0]).any()


def test_documents_come_one_by_one_and_go_in_batches():
    rows = [torch.tensor([[BOS, *range(5, 5 + n), EOS]]) for n in (3, 20, 1)]
    found = list(gathered((batch(row) for row in rows), length=8, rows=2))
    assert [len(b.x) for b in found] == [2, 1]
    assert found[0].length.tolist() == [5, 8]
    assert found[0].x[0].tolist() == [BOS, 5, 6, 7, EOS, PAD, PAD, PAD]
