"""The levels intended for stems: one track of many that is mistaken moves no other stem far."""

from __future__ import annotations

import pytest

from pipeline.roles import SUBGROUP_OF, Role
from stage1.balance.stem_targets import stem_targets

LIMIT_LU = 1.5

POP = [
    *[Role.KICK, Role.KICK, Role.DRUM_KIT, Role.HI_HAT, Role.HI_HAT, Role.CLAP],
    *[Role.SYNTH_BASS, Role.SYNTH, Role.SYNTH, Role.SYNTH_PAD],
    *[Role.BACKING_VOCAL] * 4,
    *[Role.LEAD_VOCAL, Role.EFFECT],
]
BAND = [
    *[Role.KICK, Role.SNARE, Role.TOM, Role.OVERHEAD, Role.OVERHEAD],
    *[Role.BASS, Role.ELECTRIC_GUITAR, Role.ELECTRIC_GUITAR, Role.ACOUSTIC_GUITAR],
    *[Role.PIANO, Role.LEAD_VOCAL, Role.LEAD_VOCAL],
]
ORCHESTRA = [
    *[Role.VIOLIN] * 6,
    *[Role.CELLO, Role.CELLO, Role.DOUBLE_BASS],
    *[Role.TRUMPET, Role.HORN, Role.FLUTE, Role.FLUTE],
    *[Role.PERCUSSION, Role.PERCUSSION, Role.PIANO],
]


def stems_of(roles: list[Role]) -> dict[str, list[Role]]:
    stems: dict[str, list[Role]] = {}
    for role in roles:
        stems.setdefault(SUBGROUP_OF[role].value, []).append(role)
    return stems


def moved(before: list[Role], after: list[Role]) -> dict[str, float]:
    """Return how far each stem moved against the others."""
    first, second = stem_targets(stems_of(before)), stem_targets(stems_of(after))
    change = {stem: second[stem] - first[stem] for stem in first if stem in second}
    middle = sorted(change.values())[len(change) // 2]
    return {stem: lu - middle for stem, lu in change.items()}


@pytest.mark.parametrize(
    ("song", "role", "taken_for"),
    [
        (POP, Role.LEAD_VOCAL, Role.EFFECT),  # nobody is left to lead
        (POP, Role.LEAD_VOCAL, Role.SYNTH_LEAD),
        (POP, Role.BACKING_VOCAL, Role.CHOIR),
        (POP, Role.BACKING_VOCAL, Role.LEAD_GUITAR),
        (POP, Role.EFFECT, Role.TUBA),  # no longer all electronic
        (POP, Role.SYNTH_BASS, Role.DOUBLE_BASS),
        (BAND, Role.PIANO, Role.SYNTH),
        (BAND, Role.TOM, Role.ORGAN),
        (BAND, Role.BASS, Role.DOUBLE_BASS),
        (ORCHESTRA, Role.FLUTE, Role.LEAD_GUITAR),
        (ORCHESTRA, Role.PERCUSSION, Role.SYNTH_LEAD),
        (ORCHESTRA, Role.VIOLIN, Role.SAXOPHONE),
    ],
)
def test_one_mistaken_track_moves_no_other_stem_far(
    song: list[Role], role: Role, taken_for: Role
) -> None:
    mistaken = [*song]
    mistaken[song.index(role)] = taken_for
    change = moved(song, mistaken)
    assert max(map(abs, change.values())) < LIMIT_LU, change


def test_backing_vocals_alone_stand_less_far_in_front_than_a_choir() -> None:
    def over_piano(role: Role) -> float:
        targets = stem_targets({"backing_vocals": [role, role], "keys": [Role.PIANO]})
        return targets["backing_vocals"] - targets["keys"]

    assert over_piano(Role.CHOIR) == pytest.approx(4.0 - 1.0)  # table: 1 LU under keys
    assert -1.0 < over_piano(Role.BACKING_VOCAL) < over_piano(Role.CHOIR) - 2.0
    wanted = stem_targets(
        {"backing_vocals": [Role.BACKING_VOCAL], "keys": [Role.PIANO]}, leads=["backing_vocals"]
    )
    assert wanted["backing_vocals"] - wanted["keys"] == pytest.approx(4.0 - 1.0)


def test_the_place_in_front_is_given_by_share() -> None:
    def over_strings(saxophones: int) -> float:
        stems = {"winds": [Role.SAXOPHONE] * saxophones, "strings": [Role.VIOLIN] * 20}
        targets = stem_targets(stems)
        return targets["winds"] - targets["strings"]

    few, some, many = over_strings(1), over_strings(4), over_strings(10)
    assert few < some < many
    assert many == pytest.approx(4.0 + 1.0)  # all of it; table: 1 LU over strings
