"""Tempo and length of a tune as a film wants them."""

import numpy as np
import pytest
from specimens import tune

from mintage.core.errors import UsageError
from mintage.modalities.music import Codec
from mintage.nn import midi
from mintage.nn.pace import Pace
from mintage.nn.tune import BAR, PITCH, TEMPO, bars, notes, seconds


@pytest.mark.parametrize("wanted", [4, 7, 20, 61])
def test_a_tune_lasts_as_long_as_a_scene_and_ends_with_a_phrase(wanted):
    for count in (1, 6, 9):
        made = Pace.read({"tempo": "96", "seconds": str(wanted)})(tune(3, count=count))
        assert seconds(made) == pytest.approx(wanted, rel=0.01)
        assert 96 / 2.1 < bars(made)[0, TEMPO] < 96 * 2.1
        assert len(bars(made)) < 4 or len(bars(made)) % count % 4 == 0
        assert np.array_equal(midi.read(midi.write(made)), made)


def test_a_scene_does_not_end_in_silence():
    own = tune(2, count=12)
    quiet = own[(own[:, PITCH] == BAR) | (own[:, 0] < 2 * 96) | (own[:, 0] >= 8 * 96)]  # bars 3 to 8 are silent
    for wanted in (8, 16, 20, 33):
        made = Pace.read({"tempo": "120", "seconds": str(wanted)})(quiet)
        assert seconds(made) == pytest.approx(wanted, rel=0.02)
        assert 60 <= bars(made)[0, TEMPO] <= 240
    many = Pace(seconds=600)(np.concatenate([own, own[own[:, PITCH] != BAR]]))
    assert len(notes(many)) <= midi.NOTES


def test_tempo_as_asked_keeps_changes_in_proportion():
    own = tune(1)
    own[own[:, PITCH] == BAR, TEMPO] = [60, 60, 60, 120, 120, 120]
    made = bars(Pace(tempo=160)(own))[:, TEMPO].tolist()
    assert made == [120, 120, 120, 240, 240, 240]  # 12 + 6 seconds of 24 quarters were 80 a minute
    assert Pace()(own) is own
    assert len(Pace(90, 10)(own[:0])) == 0


@pytest.mark.parametrize("wrong", ["tempo=0", "tempo=fast", "seconds=nan", "seconds=-3", "seconds=1e9", "tempo="])
def test_a_pace_that_no_tune_has_is_refused(wrong):
    with pytest.raises(UsageError, match="give a number from"):
        Codec().configure(dict([wrong.split("=")]))
