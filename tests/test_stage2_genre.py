import numpy as np
import pytest

from stage2.genre.names import genre_names, genre_table, parse_genre
from stage2.genre.targets import genre_target
from stage2.style.broad import Broad


def test_every_genre_that_is_promised_has_a_row_with_count_and_source() -> None:
    assert set(genre_names()) >= {
        "rock", "pop", "hip-hop", "electronic", "metal", "jazz", "country-folk", "reggae", "blues",
        "disco-funk", "classical", "acoustic",
    }  # fmt: skip
    for row in genre_table().values():
        assert row["count"] >= 90
        assert "GTZAN" in row["spectrum_source"]
        assert row["other_source"]


def test_curves_are_what_a_mastering_engineer_knows() -> None:
    spectra = {name: genre_target(name)[0].figures()[Broad.SPECTRUM] for name in genre_names()}
    for name, levels in spectra.items():
        # power of an octave falls from the bass to the treble, by up to 5 dB an octave
        assert 0.5 < (levels[1] - levels[7]) / 6.0 < 5.0, name
    assert spectra["hip-hop"][0] > spectra["rock"][0] + 2.0
    assert spectra["classical"][7] == min(levels[7] for levels in spectra.values())
    assert spectra["metal"][5] - spectra["metal"][3] > spectra["rock"][5] - spectra["rock"][3]


def test_a_genre_is_a_wide_target() -> None:
    for name in genre_names():
        target, segments = genre_target(name)
        assert min(target.spread[Broad.SPECTRUM]) >= 1.0
        assert np.isfinite(segments).all()


@pytest.mark.parametrize(
    ("text", "name"), [("Hip Hop", "hip-hop"), ("EDM", "electronic"), ("orchestral", "classical")]
)
def test_genres_go_by_their_other_names(text: str, name: str) -> None:
    assert parse_genre(text) == name


def test_an_unknown_genre_is_refused_with_what_comes_near() -> None:
    with pytest.raises(ValueError, match="rock"):
        parse_genre("rok")
