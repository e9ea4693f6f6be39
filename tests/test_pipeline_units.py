import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import units
from pipeline.units import (
    amplitude_to_db,
    db_to_amplitude,
    power_to_db,
)


def test_the_examples_in_the_docstrings_hold() -> None:
    failed, tried = doctest.testmod(units)
    assert failed == 0
    assert tried > 0


@pytest.mark.parametrize(
    ("level_db", "amplitude"), [(0.0, 1.0), (20.0, 10.0), (-40.0, 0.01), (-math.inf, 0.0)]
)
def test_known_levels(level_db: float, amplitude: float) -> None:
    assert db_to_amplitude(level_db) == pytest.approx(amplitude, rel=1e-12)
    assert amplitude_to_db(amplitude) == pytest.approx(level_db, abs=1e-12)


@given(st.floats(-200.0, 200.0))
def test_levels_survive_the_way_to_an_amplitude_or_power_and_back(level_db: float) -> None:
    amplitude = db_to_amplitude(level_db)
    # Float64: one power and one logarithm.
    assert amplitude_to_db(amplitude) == pytest.approx(level_db, abs=1e-9)
    assert power_to_db(amplitude**2) == pytest.approx(level_db, abs=1e-9)


def test_an_array_of_levels_is_converted_one_by_one() -> None:
    levels = np.array([-math.inf, -6.0, 0.0, 12.0])
    expected = [db_to_amplitude(float(v)) for v in levels]
    np.testing.assert_allclose(db_to_amplitude(levels), expected, rtol=1e-12)


def test_silence_has_no_level_and_a_sign_no_influence() -> None:
    assert amplitude_to_db(0.0) == -math.inf
    assert power_to_db(0.0) == -math.inf
    assert amplitude_to_db(-0.5) == amplitude_to_db(0.5)


def test_a_power_below_zero_from_rounding_counts_as_silence() -> None:
    assert power_to_db(-1e-18) == -math.inf
