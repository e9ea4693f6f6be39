"""What is worth a look in a mix: told past its limit, with place, figures and remedy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.console.compressor import GainReduction
from pipeline.report.findings import (
    CREST_LOST_DB,
    STEM_LIMITS,
    compression_findings,
    crest_findings,
    masking_findings,
    stereo_findings,
    typical_db,
)
from pipeline.report.masking import Covered, Masking
from pipeline.report.stereo import measure_stereo

NOTHING = GainReduction(0.0, 0.0)
CENTRED = measure_stereo(
    np.random.default_rng(1).standard_normal((1, 44_100)).astype(np.float32), sample_rate=44_100
)


def _steady(db: float, seconds: float = 10.0) -> GainReduction:
    course = (0.0,) * 10 + (db,) * round(2 * seconds)
    return GainReduction(db, db / 2.0, course)


def test_the_typical_reduction_is_that_while_it_works() -> None:
    assert typical_db(_steady(4.0, seconds=2.0)) == 4.0
    assert typical_db(NOTHING) == 0.0
    assert typical_db(GainReduction(0.4, 0.1, (0.4, 0.1))) == 0.0


def test_hard_working_compressors_are_told_with_time_and_figures() -> None:
    limit = STEM_LIMITS.typical_db
    (found,) = compression_findings(
        {"lead_vocals": _steady(limit + 0.1), "bass": _steady(limit - 0.1)}, NOTHING, NOTHING
    )
    assert found.where == "Lead vocals (most at 0:05)"
    assert found.what == "compressed hard, 6.1 dB while it works and 6.1 dB at most"
    assert "threshold_lu" in found.remedy
    assert str(found).startswith("Lead vocals (most at 0:05): compressed hard")


def test_one_deep_moment_is_told_too() -> None:
    moment = replace(_steady(1.0), max_db=STEM_LIMITS.most_db)
    assert len(compression_findings({"a": moment}, NOTHING, NOTHING)) == 1


@pytest.mark.parametrize(("db", "told"), [(3.9, []), (4.1, ["Bus compressor", "Limiter"])])
def test_bus_and_limiter_have_limits_of_their_own(db: float, told: list[str]) -> None:
    found = compression_findings({"a": _steady(db)}, _steady(db), _steady(db))
    assert [finding.where.partition(" (")[0] for finding in found] == told


def test_lost_crest() -> None:
    assert crest_findings(18.0, 18.0 - CREST_LOST_DB + 0.1) == ()
    assert crest_findings(math.nan, 10.0) == ()
    (found,) = crest_findings(18.0, 11.5)
    assert found.what == "crest factor 11.5 dB, 6.5 dB less than in the balanced start"


def test_a_centred_mix_needs_no_word() -> None:
    assert stereo_findings(CENTRED) == ()


def test_what_mono_takes_and_where_the_mix_leans() -> None:
    noise = np.random.default_rng(2).standard_normal((2, 2 * 44_100)).astype(np.float32)
    opposite = np.stack([noise[0], 0.6 * noise[1] - 0.8 * noise[0]])
    found = stereo_findings(measure_stereo(opposite, sample_rate=44_100))
    told = {finding.where: finding.what for finding in found}
    assert told["The whole mix"].startswith("loses ")
    assert "correlation −0.8" in told["The whole mix"]
    assert "The whole mix, under 125 Hz" in told
    (against,) = (where for where in told if where.startswith("Around "))
    assert against.endswith("to 18 kHz")
    leaning = np.stack([noise[0], noise[0] * np.float32(10 ** (2 / 20))])
    (side,) = stereo_findings(measure_stereo(leaning, sample_rate=44_100))
    assert side.what == "2.0 dB louder on the right"


def test_covered_vocals_come_first() -> None:
    pairs = tuple(
        Covered(stem, "guitars", 2000.0, 4400.0, 0.62, 0.4, 8.2)
        for stem in ("keys", *(f"synths_{n}" for n in range(9)), "lead_vocals")
    )
    found = masking_findings(Masking(covered=pairs))
    assert len(found) == 6
    assert found[0].where == "Lead vocals, 2 kHz to 4.4 kHz"
    assert found[0].what == ("covered by guitars for 62% of the time that it sounds there, by 8 dB")
    assert found[1].where.startswith("Keys")
