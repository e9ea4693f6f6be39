"""Who plays in a song of the corpus: styles, the stems of each, and the roles in a stem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.roles import Role, Subgroup

__all__ = ["STYLES", "Style", "draw_roles", "draw_style", "draw_subgroups"]

_FEWEST_STEMS, _MOST_STEMS = 2, 10


@dataclass(frozen=True)
class Style:
    """A kind of music.

    Parameters
    ----------
    share
        How often it is drawn, against the others.
    bpm
        Between which tempos.
    grooves
        Of :func:`~stage2.corpus.score.groove`.
    kits
        Chances of an acoustic, an electronic and a sampled kit.
    chances
        Chance of each stem.
    roles
        Roles that are as likely as all others of their stem together.
    swing
        Chance of swing.
    """

    share: float
    bpm: tuple[float, float]
    grooves: tuple[str, ...]
    kits: tuple[float, float, float]
    chances: Mapping[Subgroup, float]
    roles: frozenset[Role] = frozenset()
    swing: float = 0.15


_S, _R = Subgroup, Role
# In the order in which a song draws them, each with its chance where a style does not say.
_CHANCES: dict[Subgroup, float] = {
    _S.DRUMS: 0, _S.PERCUSSION: 0, _S.BASS: 0, _S.GUITARS: 0, _S.KEYS: 0, _S.SYNTHS: 0,
    _S.STRINGS: 0, _S.WINDS: 0, _S.LEAD_VOCALS: 0, _S.BACKING_VOCALS: 0, _S.EFFECTS: 0,
    _S.DIALOGUE: 0.01,
}  # fmt: skip
STYLES: Mapping[str, Style] = {
    "rock": Style(
        14, (85, 180), ("rock", "rock", "break", "tribal"), (0.9, 0.04, 0.06),
        _CHANCES | {_S.DRUMS: 1, _S.PERCUSSION: 0.2, _S.BASS: 1, _S.GUITARS: 1, _S.KEYS: 0.35,
            _S.SYNTHS: 0.12, _S.STRINGS: 0.08, _S.LEAD_VOCALS: 0.85, _S.BACKING_VOCALS: 0.5,
            _S.EFFECTS: 0.08},
        frozenset({_R.BASS, _R.ELECTRIC_GUITAR}),
    ),
    "pop": Style(
        16, (75, 135), ("rock", "four", "hiphop", "ballad"), (0.35, 0.4, 0.25),
        _CHANCES | {_S.DRUMS: 0.97, _S.PERCUSSION: 0.4, _S.BASS: 0.95, _S.GUITARS: 0.6,
            _S.KEYS: 0.7, _S.SYNTHS: 0.65, _S.STRINGS: 0.25, _S.WINDS: 0.08, _S.LEAD_VOCALS: 0.97,
            _S.BACKING_VOCALS: 0.75, _S.EFFECTS: 0.35},
    ),
    "club": Style(
        13, (100, 145), ("four", "four", "break"), (0.02, 0.58, 0.4),
        _CHANCES | {_S.DRUMS: 1, _S.PERCUSSION: 0.5, _S.BASS: 0.95, _S.KEYS: 0.3, _S.SYNTHS: 0.97,
            _S.GUITARS: 0.06, _S.STRINGS: 0.12, _S.LEAD_VOCALS: 0.5, _S.BACKING_VOCALS: 0.35,
            _S.EFFECTS: 0.65},
        frozenset({_R.SYNTH_BASS, _R.SYNTH}),
    ),
    "hiphop": Style(
        10, (65, 105), ("hiphop", "trap", "break"), (0.12, 0.43, 0.45),
        _CHANCES | {_S.DRUMS: 1, _S.PERCUSSION: 0.3, _S.BASS: 0.95, _S.KEYS: 0.6, _S.SYNTHS: 0.6,
            _S.GUITARS: 0.2, _S.STRINGS: 0.25, _S.WINDS: 0.15, _S.LEAD_VOCALS: 0.75,
            _S.BACKING_VOCALS: 0.45, _S.EFFECTS: 0.5, _S.DIALOGUE: 0.12},
        frozenset({_R.SYNTH_BASS, _R.ELECTRIC_PIANO}), 0.4,
    ),
    "jungle": Style(
        5, (155, 176), ("break", "trap"), (0.1, 0.4, 0.5),
        _CHANCES | {_S.DRUMS: 1, _S.PERCUSSION: 0.3, _S.BASS: 1, _S.KEYS: 0.3, _S.SYNTHS: 0.9,
            _S.STRINGS: 0.2, _S.LEAD_VOCALS: 0.3, _S.BACKING_VOCALS: 0.2, _S.EFFECTS: 0.6},
        frozenset({_R.SYNTH_BASS, _R.SYNTH_PAD}),
    ),
    "jazz": Style(
        8, (80, 200), ("swing", "swing", "ballad"), (1.0, 0.0, 0.0),
        _CHANCES | {_S.DRUMS: 0.85, _S.PERCUSSION: 0.1, _S.BASS: 0.95, _S.GUITARS: 0.35,
            _S.KEYS: 0.75, _S.WINDS: 0.7, _S.STRINGS: 0.1, _S.LEAD_VOCALS: 0.3,
            _S.BACKING_VOCALS: 0.05},
        frozenset({_R.DOUBLE_BASS, _R.PIANO, _R.SAXOPHONE}), 0.9,
    ),
    "funk": Style(
        7, (88, 128), ("break", "rock", "four"), (0.75, 0.1, 0.15),
        _CHANCES | {_S.DRUMS: 1, _S.PERCUSSION: 0.6, _S.BASS: 1, _S.GUITARS: 0.85, _S.KEYS: 0.75,
            _S.SYNTHS: 0.2, _S.WINDS: 0.55, _S.STRINGS: 0.12, _S.LEAD_VOCALS: 0.7,
            _S.BACKING_VOCALS: 0.5},
        frozenset({_R.BASS, _R.ORGAN, _R.ELECTRIC_PIANO}), 0.3,
    ),
    "folk": Style(
        7, (70, 130), ("ballad", "rock"), (1.0, 0.0, 0.0),
        _CHANCES | {_S.DRUMS: 0.2, _S.PERCUSSION: 0.4, _S.BASS: 0.55, _S.GUITARS: 0.97,
            _S.KEYS: 0.3, _S.STRINGS: 0.45, _S.WINDS: 0.25, _S.LEAD_VOCALS: 0.95,
            _S.BACKING_VOCALS: 0.5},
        frozenset({_R.ACOUSTIC_GUITAR, _R.DOUBLE_BASS}),
    ),
    "latin": Style(
        4, (85, 130), ("four", "hiphop", "tribal"), (0.6, 0.25, 0.15),
        _CHANCES | {_S.DRUMS: 0.5, _S.PERCUSSION: 1, _S.BASS: 0.97, _S.GUITARS: 0.7, _S.KEYS: 0.7,
            _S.SYNTHS: 0.15, _S.WINDS: 0.5, _S.LEAD_VOCALS: 0.85, _S.BACKING_VOCALS: 0.5,
            _S.EFFECTS: 0.05},
        frozenset({_R.ACOUSTIC_GUITAR, _R.PIANO}),
    ),
    "chamber": Style(
        5, (55, 125), ("ballad",), (1.0, 0.0, 0.0),
        _CHANCES | {_S.PERCUSSION: 0.15, _S.BASS: 0.3, _S.KEYS: 0.5, _S.STRINGS: 0.95,
            _S.WINDS: 0.7, _S.LEAD_VOCALS: 0.15, _S.BACKING_VOCALS: 0.25},
        frozenset({_R.PIANO, _R.DOUBLE_BASS}),
    ),
    "ambient": Style(
        4, (55, 100), ("ballad", "tribal"), (0.2, 0.5, 0.3),
        _CHANCES | {_S.DRUMS: 0.15, _S.PERCUSSION: 0.25, _S.BASS: 0.4, _S.GUITARS: 0.3,
            _S.KEYS: 0.6, _S.SYNTHS: 0.97, _S.STRINGS: 0.3, _S.BACKING_VOCALS: 0.3, _S.EFFECTS: 0.8,
            _S.DIALOGUE: 0.1},
        frozenset({_R.SYNTH_PAD}),
    ),
    "a_cappella": Style(
        2, (65, 120), ("ballad",), (1.0, 0.0, 0.0),
        _CHANCES | {_S.PERCUSSION: 0.35, _S.LEAD_VOCALS: 0.95, _S.BACKING_VOCALS: 1, _S.BASS: 0.03},
    ),
    "duo": Style(
        4, (55, 140), ("ballad", "rock"), (1.0, 0.0, 0.0),
        _CHANCES | {_S.PERCUSSION: 0.08, _S.BASS: 0.2, _S.GUITARS: 0.4, _S.KEYS: 0.45,
            _S.STRINGS: 0.2, _S.WINDS: 0.25, _S.LEAD_VOCALS: 0.6, _S.SYNTHS: 0.1},
    ),
    "spoken": Style(
        1.5, (60, 120), ("hiphop", "four"), (0.3, 0.4, 0.3),
        _CHANCES | {_S.DRUMS: 0.35, _S.BASS: 0.4, _S.GUITARS: 0.3, _S.KEYS: 0.5, _S.SYNTHS: 0.5,
            _S.STRINGS: 0.2, _S.EFFECTS: 0.6, _S.DIALOGUE: 1},
    ),
    "anything": Style(
        8, (55, 185), ("rock", "four", "hiphop", "trap", "break", "ballad", "swing", "tribal"),
        (0.4, 0.35, 0.25),
        _CHANCES | {_S.DRUMS: 0.7, _S.PERCUSSION: 0.45, _S.BASS: 0.7, _S.GUITARS: 0.45,
            _S.KEYS: 0.45, _S.SYNTHS: 0.45, _S.STRINGS: 0.35, _S.WINDS: 0.35, _S.LEAD_VOCALS: 0.5,
            _S.BACKING_VOCALS: 0.35, _S.EFFECTS: 0.25, _S.DIALOGUE: 0.03},
    ),
}  # fmt: skip
"""The styles that songs are drawn from."""

# What is in a stem: roles with their weights, and the weights of one, two, ... of them.
_MEMBERS: Mapping[Subgroup, tuple[Mapping[Role, float], tuple[float, ...]]] = {
    Subgroup.PERCUSSION: (
        {_R.SHAKER: 1, _R.TAMBOURINE: 1, _R.PERCUSSION: 2.5}, (4, 3, 2, 1),
    ),
    Subgroup.BASS: ({_R.BASS: 2, _R.SYNTH_BASS: 1.5, _R.DOUBLE_BASS: 0.5}, (9, 1)),
    Subgroup.GUITARS: (
        {_R.ELECTRIC_GUITAR: 3, _R.LEAD_GUITAR: 1, _R.ACOUSTIC_GUITAR: 1.5, _R.PLUCKED: 0.5},
        (4, 4, 2, 1),
    ),
    Subgroup.KEYS: (
        {_R.PIANO: 2, _R.ELECTRIC_PIANO: 1.5, _R.ORGAN: 1.2, _R.KEYS: 0.8, _R.MALLET: 0.7},
        (7, 2),
    ),
    Subgroup.SYNTHS: (
        {_R.SYNTH: 1.5, _R.SYNTH_LEAD: 1, _R.SYNTH_PAD: 1.5, _R.ARPEGGIO: 1}, (5, 4, 2, 1),
    ),
    Subgroup.STRINGS: (
        {_R.STRINGS: 1.5, _R.VIOLIN: 1, _R.VIOLA: 0.6, _R.CELLO: 0.9}, (5, 2, 2, 1),
    ),
    Subgroup.WINDS: (
        {_R.TRUMPET: 1, _R.TROMBONE: 0.7, _R.HORN: 0.4, _R.BRASS: 0.8, _R.SAXOPHONE: 1,
         _R.FLUTE: 0.7, _R.WOODWIND: 0.6},
        (5, 2, 1),
    ),
    Subgroup.BACKING_VOCALS: ({_R.BACKING_VOCAL: 3, _R.CHOIR: 0.6}, (3, 3, 1, 1)),
    Subgroup.EFFECTS: ({_R.EFFECT: 2, _R.AMBIENCE: 1, _R.SAMPLE: 0.5}, (5, 2)),
}  # fmt: skip
# Of some there is one at most.
_SINGLE = frozenset({_R.CHOIR, _R.PIANO, _R.ORGAN, _R.STRINGS, _R.SYNTH_PAD, _R.BASS})


def draw_style(rng: np.random.Generator) -> Style:
    """Return one of :data:`STYLES`."""
    shares = np.array([style.share for style in STYLES.values()])
    return list(STYLES.values())[int(rng.choice(len(STYLES), p=shares / shares.sum()))]


def draw_subgroups(style: Style, rng: np.random.Generator) -> list[Subgroup]:
    """Return two to ten subgroups that play."""
    names, chance = list(style.chances), np.array(list(style.chances.values()))
    # Fuller and emptier arrangements of the same style.
    fullness = float(rng.uniform(0.75, 1.3))
    drawn = rng.uniform(size=len(names))
    wanted = drawn < np.minimum(chance * fullness, 0.98)
    order = np.argsort(drawn - chance, kind="stable")
    if wanted.sum() < _FEWEST_STEMS:
        wanted[order[:_FEWEST_STEMS]] = True
    return [name for name, yes in zip(names, wanted, strict=True) if yes][:_MOST_STEMS]


def draw_roles(subgroup: Subgroup, style: Style, rng: np.random.Generator) -> list[Role]:
    """Return the roles in a stem; a role may be there twice."""
    members, counts = _MEMBERS[subgroup]
    weights = dict(members)
    total = sum(weights.values())
    for role in style.roles & set(weights):
        weights[role] += total
    roles: list[Role] = []
    for _ in range(1 + int(rng.choice(len(counts), p=np.array(counts) / sum(counts)))):
        free = [r for r in weights if not (r in _SINGLE and r in roles)]
        shares = np.array([weights[role] for role in free])
        if free:
            roles.append(free[int(rng.choice(len(free), p=shares / shares.sum()))])
    return roles
