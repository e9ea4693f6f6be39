"""What is followed of references some of whose figures cannot be trusted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.console.delivery import DEFAULT_LUFS
from stage2.controller.inputs import REFERENCE_FIGURES, reference_windows
from stage2.reference.faults import Trust
from stage2.reference.trust import complete, complete_windows, wanted_style, without_lost_bands
from stage2.style.layout import style_features
from stage2.style.measure import THIRD_OCTAVES_HZ, Style, blend, measure_style

RATE = 44_100
RNG = np.random.default_rng(4)
AUDIO = (0.1 * RNG.standard_normal((2, 2 * RATE))).astype(np.float32)
CENTRES = THIRD_OCTAVES_HZ
TREBLE = CENTRES > 4500.0


def falling(slope_db: float, **figures: float) -> Style:
    spectrum = slope_db * np.log2(CENTRES / 1000.0)
    power_db = 10.0 * np.log10((10.0 ** (spectrum / 10.0)).sum())
    told = tuple((spectrum - power_db).tolist())
    style = measure_style(AUDIO, sample_rate=RATE)
    return replace(style, spectrum_db=told, typical_spectrum_db=told, **figures)


GOOD = falling(-2.0, loudness_lufs=-11.0, width_db=-9.0)
BALANCED = falling(-3.0, loudness_lufs=-20.0, width_db=-15.0)


def dull(style: Style) -> Style:
    cut = np.where(TREBLE, -60.0, style.spectrum_db)
    return replace(style, spectrum_db=tuple(cut), typical_spectrum_db=tuple(cut))


NO_TREBLE = Trust(bands=tuple((~TREBLE).tolist()))


def test_a_trusted_style_is_followed_as_it_is() -> None:
    assert complete(GOOD, Trust(), BALANCED) is GOOD
    assert wanted_style([(GOOD, Trust())], BALANCED)[0] == blend([GOOD])
    windows = np.zeros((2, 3), np.float32)
    assert complete_windows(windows, Trust(), BALANCED) is windows


def test_a_lost_treble_goes_on_as_records_do() -> None:
    wanted, _ = wanted_style([(dull(GOOD), NO_TREBLE)], BALANCED)
    apart = np.asarray(wanted.spectrum_db) - np.asarray(GOOD.spectrum_db)
    assert np.abs(apart[CENTRES < 11_000.0]).max() < 1.5
    assert np.abs(apart).max() < 5.0
    assert np.asarray(wanted.typical_spectrum_db) == pytest.approx(wanted.spectrum_db)
    power = (10.0 ** (np.asarray(wanted.spectrum_db) / 10.0)).sum()
    assert power == pytest.approx(1.0)
    assert (wanted.width_db, wanted.loudness_lufs) == (GOOD.width_db, GOOD.loudness_lufs)


def test_lost_bass_stays_the_balanced_mix_s_own() -> None:
    lost = CENTRES < 45.0
    spoilt = replace(GOOD, spectrum_db=tuple(np.where(lost, 0.0, GOOD.spectrum_db)))
    wanted, _ = wanted_style([(spoilt, Trust(bands=tuple((~lost).tolist())))], BALANCED)
    slope = np.diff(np.asarray(wanted.spectrum_db)[:3])
    assert slope == pytest.approx(np.diff(np.asarray(BALANCED.spectrum_db)[:3]))
    assert np.abs(np.asarray(wanted.spectrum_db) - GOOD.spectrum_db).max() < 3.0


def test_width_and_dynamics_without_trust_are_the_balanced_mix_s_and_loudness_the_default() -> None:
    trust = Trust(width=False, width_by_range=(False,) * 4, imbalance=False, dynamics=False)
    wanted, _ = wanted_style([(GOOD, trust)], BALANCED)
    assert wanted.width_db == BALANCED.width_db
    assert wanted.width_by_range_db == BALANCED.width_by_range_db
    assert wanted.crest_db == BALANCED.crest_db
    assert wanted.spectrum_db == GOOD.spectrum_db
    wanted, _ = wanted_style([(GOOD, Trust(loudness=False))], BALANCED)
    assert wanted.loudness_lufs == DEFAULT_LUFS


def test_a_record_that_was_turned_down_is_no_denser_than_the_default_loudness_needs() -> None:
    balanced = replace(BALANCED, crest_db=18.0, peak_to_loudness_db=16.0)
    quiet = replace(GOOD, loudness_lufs=-40.0, crest_db=9.0, peak_to_loudness_db=8.0)
    wanted, _ = wanted_style([(quiet, Trust(loudness=False))], balanced)
    # With its peaks at -1 dBFS it is a record of -9 LUFS; 5 dB of that -14 LUFS gives back.
    assert wanted.peak_to_loudness_db == pytest.approx(-1.0 - DEFAULT_LUFS)
    assert wanted.crest_db == pytest.approx(14.0)
    loose = replace(quiet, crest_db=17.0, peak_to_loudness_db=15.0)
    wanted, _ = wanted_style([(loose, Trust(loudness=False))], balanced)
    assert (wanted.crest_db, wanted.peak_to_loudness_db) == (17.0, 15.0)


def test_of_several_references_a_sound_one_tells_what_another_lost() -> None:
    other = replace(GOOD, width_db=-30.0, loudness_lufs=-45.0)
    trust = replace(NO_TREBLE, width=False, loudness=False)
    wanted, donors = wanted_style([(dull(other), trust), (GOOD, Trust())], BALANCED)
    assert donors[0] == GOOD
    assert wanted.width_db == GOOD.width_db
    assert wanted.loudness_lufs == GOOD.loudness_lufs
    assert wanted.spectrum_db == pytest.approx(GOOD.spectrum_db, abs=0.2)
    # two faulty ones tell each other what each has lost
    wanted, _ = wanted_style(
        [(dull(GOOD), NO_TREBLE), (GOOD, Trust(width=False, loudness=False))], BALANCED
    )
    assert wanted.spectrum_db == pytest.approx(GOOD.spectrum_db, abs=0.2)
    assert wanted.width_db == GOOD.width_db


def test_the_controller_hears_windows_completed_in_the_same_way() -> None:
    windows = reference_windows(AUDIO, sample_rate=RATE)
    style = measure_style(AUDIO, sample_rate=RATE)
    trust = replace(NO_TREBLE, width=False)
    whole = style_features(complete(style, trust, BALANCED))[:REFERENCE_FIGURES]
    completed = complete_windows(windows, trust, BALANCED)
    assert completed.shape == windows.shape
    assert completed.dtype == np.float32
    assert completed[0] == pytest.approx(whole, abs=1.5)
    assert not np.allclose(completed[0], windows[0], atol=3.0)


def test_lost_bands_are_taken_out_of_a_mix_of_the_same_song() -> None:
    kept = without_lost_bands(AUDIO, NO_TREBLE, sample_rate=RATE)
    assert without_lost_bands(AUDIO, Trust(), sample_rate=RATE) is AUDIO
    before, after = (
        np.asarray(measure_style(a, sample_rate=RATE).spectrum_db) for a in (AUDIO, kept)
    )
    assert np.all(after[CENTRES > 6000.0] < before[CENTRES > 6000.0] - 20.0)
    assert np.allclose(np.diff(after[10:20]), np.diff(before[10:20]), atol=0.1)
