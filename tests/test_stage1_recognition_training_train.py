"""How recognition by sound is trained: what is played, and what is exported of the models."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression

from pipeline.roles import SUBGROUP_OF, Role
from stage1.recognition.classifier import (
    CLASS_OF,
    CLASSES,
    SUBGROUPS,
    calibrated,
    familiarity,
    forest_probabilities,
    linear_probabilities,
    standardised,
)
from stage1.recognition.training import model as sound_model
from stage1.recognition.training.augment import augmented
from stage1.recognition.training.drums import DRUMS
from stage1.recognition.training.examples import TrainingSet
from stage1.recognition.training.instruments import INSTRUMENTS
from stage1.recognition.training.model import HeldOut, calibrate, fit
from stage1.recognition.training.performance import phrase, play_notes
from stage1.recognition.training.recordings import CREDITS, Corpus
from stage1.recognition.training.train import scores
from stage1.timbre.descriptors import TIMBRE_NAMES

RATE = 44100
AUDIO = Path(__file__).resolve().parents[2] / "shared" / "audio"
MAKERS = {**INSTRUMENTS, **DRUMS}


@pytest.mark.parametrize("role", MAKERS, ids=str)
def test_instruments_sound_and_can_be_played_again(role):
    make, share = MAKERS[role]
    once, again, other = (make(np.random.default_rng(seed), 2.0, RATE) for seed in (5, 5, 6))
    assert CLASS_OF[role] == role
    assert share > 0.0
    assert once.shape == (2 * RATE,)
    assert np.isfinite(once).all()
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)


@pytest.mark.parametrize("channels", [1, 2])
def test_augmentation_keeps_within_full_scale(channels):
    song = np.random.default_rng(0).normal(0.0, 0.2, (channels, RATE))
    for seed in range(12):
        once, again = (
            augmented(song, np.random.default_rng(seed), sample_rate=RATE) for _ in range(2)
        )
        np.testing.assert_array_equal(once, again)
        assert 1 <= once.shape[0] <= 2
        # A peak of -30 to 0 dBFS.
        assert 10.0 ** (-30.0 / 20.0) - 1e-9 <= np.abs(once).max() <= 1.0 + 1e-9


def test_augmentation_of_no_strength_changes_the_level_alone():
    song = np.random.default_rng(0).normal(0.0, 0.2, (2, 1000))
    out = augmented(song, np.random.default_rng(1), sample_rate=RATE, strength=0.0)
    np.testing.assert_allclose(out / np.abs(out).max(), song / np.abs(song).max(), atol=1e-12)


@pytest.mark.parametrize("manner", ["line", "bass", "riff", "lead", "power", "strum", "comp"])
def test_phrases_stay_in_their_register(manner):
    notes = phrase(manner, np.random.default_rng(3), seconds=8.0, low=40, high=64)
    assert notes
    # Chords are built upwards from a root in the lower half of the register.
    top = 64 if manner in {"line", "bass", "riff", "lead"} else 40 + 12 + 24
    assert all(40 <= note.pitch <= top for note in notes)
    assert all(0.0 <= note.start_s < 8.5 and note.length_s > 0.0 for note in notes)


def test_notes_are_played_at_their_pitch():
    t = np.arange(RATE) / RATE
    recorded = np.sin(2 * np.pi * 220.0 * t)
    notes = [
        note._replace(start_s=0.0, length_s=0.9, pitch=64.0)
        for note in phrase("line", np.random.default_rng(0), seconds=1.0, low=50, high=60)[:1]
    ]
    rng = np.random.default_rng(0)
    out = play_notes([recorded], [57.0], notes, rng, seconds=1.0, sample_rate=RATE)
    spectrum = np.abs(np.fft.rfft(out[: RATE // 2] * np.hanning(RATE // 2)))
    # E4; half a second resolves 2 Hz.
    assert np.argmax(spectrum) * 2.0 == pytest.approx(329.63, abs=1.5)


@pytest.fixture(scope="module")
def made_up():
    """Return a set in which each role lies elsewhere."""
    rng = np.random.default_rng(0)
    roles = [role for role in CLASSES for _ in range(30)]
    centres = rng.normal(0.0, 1.0, (len(CLASSES), len(TIMBRE_NAMES)))
    rows = np.array([centres[CLASSES.index(role)] for role in roles])
    timbre = (3.0 * (rows + rng.normal(0.0, 1.0, rows.shape)) + 7.0).astype(np.float32)
    sources = tuple("ab"[k % 2] for k in range(len(roles)))
    return TrainingSet(timbre, tuple(roles), sources, np.ones(len(roles), bool))


def test_exported_models_say_what_scikit_learn_says(made_up, monkeypatch):
    kept = {}

    def keeping(cls):
        class Kept(cls):
            def fit(self, x, y, **more):
                kept[cls.__name__] = super().fit(x, y, **more)
                return self

        return Kept

    monkeypatch.setattr(sound_model, "ExtraTreesClassifier", keeping(ExtraTreesClassifier))
    monkeypatch.setattr(sound_model, "LogisticRegression", keeping(LogisticRegression))
    arrays = fit(made_up, use=np.ones(len(made_up.roles), bool), seed=1)
    z = standardised(made_up.timbre[:, :-3].astype(np.float64), arrays)
    linear = linear_probabilities(z, arrays)
    # float32 weights.
    np.testing.assert_allclose(linear, kept["LogisticRegression"].predict_proba(z), atol=1e-5)
    forest = forest_probabilities(z, arrays)
    whole = kept["ExtraTreesClassifier"].predict_proba(z)
    # Leaves are kept in 8 bits; a threshold in 16 bits may send an example into a neighbour.
    np.testing.assert_allclose(forest, whole, atol=0.05)
    assert np.abs(forest - whole).mean() < 0.005
    truth = np.array([SUBGROUPS.index(SUBGROUP_OF[role]) for role in made_up.roles])
    assert (forest.argmax(axis=1) == truth).mean() > 0.9
    # Nine in ten of the examples themselves are within the usual range.
    assert (familiarity(z, arrays) == 1.0).mean() == pytest.approx(0.9, abs=0.01)


def test_calibration_finds_the_temperature():
    rng = np.random.default_rng(1)
    logits = rng.normal(0.0, 2.0, (4000, len(SUBGROUPS)))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(len(SUBGROUPS), p=p) for p in true])
    # Too sure: twice the logits. Both models say the same, so that the share does not matter.
    over = true**2 / (true**2).sum(axis=1, keepdims=True)
    count = len(truth)
    found = HeldOut(over, over, np.ones(count), truth, np.full(count, "a"), np.zeros(count, bool))
    calibration = calibrate(found)
    # The grid of temperatures has steps of 8 %; the prior's weights draw it a little.
    assert calibration[1] == pytest.approx(2.0, rel=0.25)
    p = calibrated(over, over, {"calibration": calibration})
    assert p.sum(axis=1) == pytest.approx(np.ones(count))
    result = scores(found, calibration)
    assert result["all"]["right"] == pytest.approx((true.argmax(axis=1) == truth).mean(), abs=1e-3)


def test_tables_name_every_recording():
    if not AUDIO.is_dir():
        pytest.skip(f"{AUDIO} is not there")
    corpus = Corpus(AUDIO)
    assert len(corpus.recordings) == 75
    assert all(shots.paths for shots in corpus.shots)
    assert {path.parts[-2] for path in corpus.files()} == {
        "sodium", "caesium", "hydrogen", "potassium", "rubidium", "oneshots", "oneshots_berklee",
    }  # fmt: skip
    assert {item.source for item in (*corpus.recordings, *corpus.shots)} < set(CREDITS)
    assert all(item.role in CLASS_OF for item in (*corpus.recordings, *corpus.shots))
    kicks = [r.path.stem for r in corpus.recordings if r.role == Role.KICK]
    assert all("KICK" in name for name in kicks)


def test_missing_recordings_are_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="sodium"):
        Corpus(tmp_path)
