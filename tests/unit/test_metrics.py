"""Each metric against what it must say: identical sets, no difference, a growing shift, planted copies, a lost mode."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from mintage.core.spec import Batch, Evidence, Spec
from mintage.metrics import copying, coverage, frechet, kernel, likelihood, obeys, repetition, selfsimilarity, twosample
from mintage.nn.copies import CLOSE, CopySearch, Verbatim
from mintage.nn.features import Features, outline
from mintage.nn.intervals import fisher, share
from mintage.nn.neighbours import Neighbours
from mintage.nn.noise import Noise

SPEC = Spec("grid", (1, 8, 8), ("channel", "height", "width"))
TEXT = Spec("tokens", (48,), ("token",), vocab=261)


@pytest.fixture(scope="module")
def bench(digits):
    x, y = digits
    train, real, more = x[:900], x[900:1300], x[1300:]
    features = Features.fit(SPEC, train, y[:900], 10, Noise("test"))
    return train, real, more, y, features


def evidence(bench, made, asked=None, **extra):
    train, real, _, _, features = bench
    return Evidence(SPEC, made, asked or {}, train, real, real, {}, features, None, Noise("metric"), extra)


def scores(metric, given):
    return {score.name: score for score in metric.Metric()(given)}


def test_identical_sets_are_ideal(bench):
    given = evidence(bench, bench[1])
    assert scores(kernel, given)["kernel distance"].value <= 0
    assert scores(frechet, given)["Fréchet distance"].value == pytest.approx(0, abs=1e-6)
    found = scores(coverage, given)
    assert found["precision"].value == found["recall"].value == found["coverage"].value == 1
    assert scores(selfsimilarity, given)["variety"].value == pytest.approx(1)


def test_two_real_sets_are_told_apart_by_nobody(bench):
    found = scores(twosample, evidence(bench, bench[2]))
    assert all(score.low <= 0.56 for score in found.values())
    distance = scores(kernel, evidence(bench, bench[2]))["kernel distance"]
    assert distance.low <= 0.02


def test_real_numbers_grow_with_the_damage(bench):
    noise = Noise("damage").normal(bench[2].shape)
    steps = [bench[2] + size * noise for size in (0.0, 0.2, 0.5)]
    for metric, name in ((kernel, "kernel distance"), (twosample, "two-sample accuracy"), (frechet, "Fréchet distance")):
        values = [scores(metric, evidence(bench, step.clamp(-1, 1)))[name].value for step in steps]
        assert values == sorted(values), name
        assert values[2] > values[0] + 0.1


def test_the_plain_view_sees_blur_without_training(bench):
    blurred = F.avg_pool2d(bench[2], 3, 1, 1)
    assert scores(twosample, evidence(bench, blurred))["two-sample accuracy (plain view)"].low > 0.8


def test_a_lost_mode_lowers_recall_and_not_precision(bench):
    x, y = bench[2], bench[3][1300:]
    whole, half = scores(coverage, evidence(bench, x[y < 5])), scores(coverage, evidence(bench, x))
    assert whole["recall"].high < half["recall"].low
    assert whole["precision"].value > 0.85


def test_collapse_shows_in_distinctness(bench):
    few = bench[2][:5].repeat(60, 1, 1, 1) + 0.02 * Noise("few").normal((300, 1, 8, 8))
    found = scores(selfsimilarity, evidence(bench, few))
    assert found["distinctness"].high < 0.3
    assert found["variety"].value > 0.5


@pytest.mark.parametrize("part", [0.03, 0.1])
def test_planted_copies_are_found_and_named(bench, part):
    made = bench[2].clone()
    n = int(part * len(made))
    made[:n] = bench[0][100 : 100 + n].flip(-1) + 0.05 * Noise("copies").normal((n, 1, 8, 8))
    found = scores(copying, evidence(bench, made))
    assert set(found["copies"].worst_ids) == set(range(n))
    assert found["copy p-value"].value < 1e-3


def test_real_items_are_no_copies(bench):
    found = scores(copying, evidence(bench, bench[2]))
    assert found["copies"].value == 0
    assert found["copy p-value"].value == 1


def test_doubled_training_data_does_not_hide_a_copy(bench):
    train, x = bench[0], bench[0][:20] + 0.02 * Noise("twice").normal((20, 1, 8, 8))
    doubled = torch.cat([train, train + 0.01 * Noise("double").normal(train.shape)])
    ratio, nearest = CopySearch(outline(doubled)).ratio(x)
    assert (ratio < CLOSE).all()
    assert (nearest % len(train) == torch.arange(20)).all()


def test_what_was_asked_is_read(bench):
    y = bench[3][1300:]
    right = scores(obeys, evidence(bench, bench[2], {"class": y}))["read as asked"]
    wrong = scores(obeys, evidence(bench, bench[2], {"class": (y + 1) % 10}))["read as asked"]
    assert right.value > 0.9
    assert wrong.high < 0.1
    assert len(wrong.worst_ids) > 400


def test_captions_are_ranked_above_chance(bench):
    _, _, made, y, _ = bench
    captions = torch.stack([y + 10, y + 30, torch.full_like(y, 50)], 1)  # three words, two of them about the digit
    given = evidence(bench, made, {"caption": captions[1300:]}, captions=captions[:900])
    assert scores(obeys, given)["caption ranked first of ten"].low > 0.6
    shuffled = captions[1300:][Noise("shuffle").permutation(len(made))]
    low = scores(obeys, evidence(bench, made, {"caption": shuffled}, captions=captions[:900]))
    assert low["caption ranked first of ten"].high < 0.3


def test_small_sets_are_refused():
    assert kernel.Metric.refuse(SPEC, 29)
    assert not kernel.Metric.refuse(SPEC, 30)
    assert frechet.Metric.refuse(SPEC, 199)
    assert likelihood.Metric.refuse(SPEC, 0)
    assert not likelihood.Metric.refuse(SPEC, 1)
    assert not likelihood.Metric.refuse(TEXT, 1)


def ids(texts):
    rows = [torch.tensor([byte + 5 for byte in text.encode()]) for text in texts]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def texts_evidence(made, train, test, asked=None, labels=None):
    extra = {"texts": {"made": made, "train": train, "test": test}}
    labels = {"train": labels} if labels is not None else {}
    return Evidence(TEXT, ids(made), asked or {}, ids(train), ids(test), ids(test), labels, None, None, Noise("t"), extra)


def test_verbatim_passages_are_found_where_they_stand():
    train = ["It was the best of times, it was the worst of times.", "猫は窓辺で静かに眠っている。"]
    found = Verbatim(train).longest(["So it was the worst of weeks", "静かに眠っている犬", "", "times.猫は"])
    assert found == [(2, 21), (0, 8), (0, 0), (0, 6)]  # the last one does not cross from one text into the next
    assert Verbatim(train).novel(["it was the worst of times", "nothing of that kind here"]) == [0.0, 1.0]


def test_copied_texts_are_found():
    words = [" ".join(f"w{(i * 7 + j * 13) % 97}" for j in range(40)) for i in range(60)]
    train, test = words[:40], [" ".join(reversed(text.split())) for text in words[40:]]
    made = [*train[:10], *(" ".join(reversed(text.split())) for text in words[20:40])]
    found = scores(copying, texts_evidence(made, train, test))
    assert set(range(10)) <= set(found["copies"].worst_ids)
    assert found["copies"].value < 0.5


def test_forms_are_learned_and_kept():
    train = ["abcde,fghij,klmno,pqrst."] * 9 + ["abcdefg,hijklmn,opqrstu,vwxyzab."] * 9
    labels = torch.tensor([0] * 9 + [1] * 9)
    made = ["aaaaa,bbbbb,ccccc,ddddd.", "aaaaaaa,bbbbbbb,ccccccc,ddddddd.", "aaaaa,bbbbb,ccccc."]
    given = texts_evidence(made, train, train[:3], {"class": torch.tensor([0, 1, 0])}, labels)
    kept = {s.name: s for s in obeys.Metric()._forms(given)}["keeps the asked form"]
    assert kept.value == pytest.approx(2 / 3)
    assert kept.worst_ids == (2,)


def test_repetition_is_counted():
    plain = ["the quick brown fox jumps over the lazy dog again", "pack my box with five dozen liquor jugs my friend"]
    loops = ["again and again and again and again and again and", "so it goes so it goes so it goes so it goes so it "]
    test = [*plain, "how vexingly quick daft zebras jump in the night!"]
    calm, mad = (scores(repetition, texts_evidence(made, plain, test)) for made in (plain, loops))
    assert calm["repeated eight-grams"].value < 0.05 < 0.5 < mad["repeated eight-grams"].value
    assert mad["distinct three-grams"].value < calm["distinct three-grams"].value


class Uniform:
    """Every id is as likely as any other."""

    def log_prob(self, batch: Batch):
        return -(batch.length - 1).clamp(min=0) * torch.log(torch.tensor(256.0))


@pytest.mark.parametrize("length", [2, 47, 48, 49, 130, 500])
def test_windows_score_each_token_once(length):
    x = torch.arange(length) % 256 + 5
    passages = [likelihood.Passage(x, 0, length - 1, length - 1, {}), likelihood.Passage(x, length // 30, 9, 9, {})]
    lost = likelihood.nats(Uniform(), passages, 48)
    nat = torch.log(torch.tensor(256.0)).item()
    assert lost[0].item() == pytest.approx((length - 1) * nat, rel=1e-5)
    assert lost[1].item() == pytest.approx((length - max(1, length // 30)) * nat, rel=1e-5)


def test_likelihood_speaks_in_characters_and_bytes():
    x = torch.arange(101) + 5
    extra = {"passages": [likelihood.Passage(x, 0, 50, 100, {})] * 4, "sketch": Uniform()}
    spec = dataclasses.replace(TEXT, channels=("utf-8",))
    given = Evidence(spec, None, {}, None, None, None, {}, None, Uniform(), Noise("l"), extra)
    found = {score.name: score for score in likelihood.Metric()(given)}
    assert found["bits per byte"].value == pytest.approx(8, rel=1e-5)
    assert found["nats per character"].value == pytest.approx(2 * 8 * 0.693147, rel=1e-5)
    assert found[likelihood.GAIN].value == pytest.approx(0)
    notes = {score.name: score for score in likelihood.Metric()(dataclasses.replace(given, target=TEXT.at(token=9)))}
    assert notes["nats per token"].value == pytest.approx(found["nats per character"].value)
    assert notes["nats per event"].value == pytest.approx(8 * 0.693147, rel=1e-5)


def test_fisher_and_wilson_agree_with_tables():
    assert fisher(3, 4, 1, 4) == pytest.approx(17 / 70)  # the lady tasting tea, one-sided
    assert fisher(0, 500, 0, 100) == 1
    value, low, high = share(0, 20)
    assert (value, low) == (0, 0)
    assert high == pytest.approx(0.1611, abs=1e-3)


def test_neighbours_are_exact():
    noise = Noise("neighbours")
    points, query = noise.normal((700, 20)) + 100, noise.normal((50, 20)) + 100
    distances, places = Neighbours(points).search(query, 3)
    exact = torch.cdist(query.double(), points.double()).topk(3, largest=False)
    assert torch.equal(places, exact.indices)
    assert torch.allclose(distances.double(), exact.values, rtol=1e-5)
    itself = Neighbours(points).search(points, 1)[0]
    assert (itself == 0).all()
    assert (Neighbours(points).search(points, 1, among_itself=True)[0] > 0).all()


def test_features_come_back_and_do_not_change(bench):
    features, x = bench[4], bench[1][:7]
    again = Features(SPEC, 10)
    again.load_state_dict(features.state_dict())
    for view in (1, 2):
        assert torch.equal(again.eval()(x, view=view), features(x, view=view))
    stored = ((x + 1) * 127.5).round().byte()
    assert torch.allclose(features(stored), features(x), atol=0.1)


def test_text_features_tell_texts_apart():
    a, b = (ids([f"{word} {i} {word} runs far" for i in range(60)]) for word in ("river", "motor"))
    features = Features.fit(TEXT, torch.cat([a[:40], b[:40]]), None, 0, Noise("text"))
    for view in (1, 2):
        x, y = features(a[40:], view=view), features(b[40:], view=view)
        assert torch.cdist(x, x).mean() < torch.cdist(x, y).mean()
