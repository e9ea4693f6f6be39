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


def _stems(
    *, drums: float = 0, percussion: float = 0, bass: float = 0, guitars: float = 0,
    keys: float = 0, synths: float = 0, strings: float = 0, winds: float = 0, lead: float = 0,
    backing: float = 0, effects: float = 0, dialogue: float = 0.01,
) -> dict[Subgroup, float]:  # fmt: skip
    s = Subgroup
    return {
        s.DRUMS: drums, s.PERCUSSION: percussion, s.BASS: bass, s.GUITARS: guitars, s.KEYS: keys,
        s.SYNTHS: synths, s.STRINGS: strings, s.WINDS: winds, s.LEAD_VOCALS: lead,
        s.BACKING_VOCALS: backing, s.EFFECTS: effects, s.DIALOGUE: dialogue,
    }  # fmt: skip


_R = Role
STYLES: Mapping[str, Style] = {
    "rock": Style(
        14, (85, 180), ("rock", "rock", "break", "tribal"), (0.9, 0.04, 0.06),
        _stems(drums=1, percussion=0.2, bass=1, guitars=1, keys=0.35, synths=0.12, strings=0.08,
               lead=0.85, backing=0.5, effects=0.08),
        frozenset({_R.BASS, _R.ELECTRIC_GUITAR}),
    ),
    "pop": Style(
        16, (75, 135), ("rock", "four", "hiphop", "ballad"), (0.35, 0.4, 0.25),
        _stems(drums=0.97, percussion=0.4, bass=0.95, guitars=0.6, keys=0.7, synths=0.65,
               strings=0.25, winds=0.08, lead=0.97, backing=0.75, effects=0.35),
    ),
    "club": Style(
        13, (100, 145), ("four", "four", "break"), (0.02, 0.58, 0.4),
        _stems(drums=1, percussion=0.5, bass=0.95, keys=0.3, synths=0.97, guitars=0.06,
               strings=0.12, lead=0.5, backing=0.35, effects=0.65),
        frozenset({_R.SYNTH_BASS, _R.SYNTH}),
    ),
    "hiphop": Style(
        10, (65, 105), ("hiphop", "trap", "break"), (0.12, 0.43, 0.45),
        _stems(drums=1, percussion=0.3, bass=0.95, keys=0.6, synths=0.6, guitars=0.2, strings=0.25,
               winds=0.15, lead=0.75, backing=0.45, effects=0.5, dialogue=0.12),
        frozenset({_R.SYNTH_BASS, _R.ELECTRIC_PIANO}), 0.4,
    ),
    "jungle": Style(
        5, (155, 176), ("break", "trap"), (0.1, 0.4, 0.5),
        _stems(drums=1, percussion=0.3, bass=1, keys=0.3, synths=0.9, strings=0.2, lead=0.3,
               backing=0.2, effects=0.6),
        frozenset({_R.SYNTH_BASS, _R.SYNTH_PAD}),
    ),
    "jazz": Style(
        8, (80, 200), ("swing", "swing", "ballad"), (1.0, 0.0, 0.0),
        _stems(drums=0.85, percussion=0.1, bass=0.95, guitars=0.35, keys=0.75, winds=0.7,
               strings=0.1, lead=0.3, backing=0.05),
        frozenset({_R.DOUBLE_BASS, _R.PIANO, _R.SAXOPHONE}), 0.9,
    ),
    "funk": Style(
        7, (88, 128), ("break", "rock", "four"), (0.75, 0.1, 0.15),
        _stems(drums=1, percussion=0.6, bass=1, guitars=0.85, keys=0.75, synths=0.2, winds=0.55,
               strings=0.12, lead=0.7, backing=0.5),
        frozenset({_R.BASS, _R.ORGAN, _R.ELECTRIC_PIANO}), 0.3,
    ),
    "folk": Style(
        7, (70, 130), ("ballad", "rock"), (1.0, 0.0, 0.0),
        _stems(drums=0.2, percussion=0.4, bass=0.55, guitars=0.97, keys=0.3, strings=0.45,
               winds=0.25, lead=0.95, backing=0.5),
        frozenset({_R.ACOUSTIC_GUITAR, _R.DOUBLE_BASS}),
    ),
    "latin": Style(
        4, (85, 130), ("four", "hiphop", "tribal"), (0.6, 0.25, 0.15),
        _stems(drums=0.5, percussion=1, bass=0.97, guitars=0.7, keys=0.7, synths=0.15, winds=0.5,
               lead=0.85, backing=0.5, effects=0.05),
        frozenset({_R.ACOUSTIC_GUITAR, _R.PIANO}),
    ),
    "chamber": Style(
        5, (55, 125), ("ballad",), (1.0, 0.0, 0.0),
        _stems(percussion=0.15, bass=0.3, keys=0.5, strings=0.95, winds=0.7, lead=0.15,
               backing=0.25),
        frozenset({_R.PIANO, _R.DOUBLE_BASS}),
    ),
    "ambient": Style(
        4, (55, 100), ("ballad", "tribal"), (0.2, 0.5, 0.3),
        _stems(drums=0.15, percussion=0.25, bass=0.4, guitars=0.3, keys=0.6, synths=0.97,
               strings=0.3, backing=0.3, effects=0.8, dialogue=0.1),
        frozenset({_R.SYNTH_PAD}),
    ),
    "a_cappella": Style(
        2, (65, 120), ("ballad",), (1.0, 0.0, 0.0),
        _stems(percussion=0.35, lead=0.95, backing=1, bass=0.03),
    ),
    "duo": Style(
        4, (55, 140), ("ballad", "rock"), (1.0, 0.0, 0.0),
        _stems(percussion=0.08, bass=0.2, guitars=0.4, keys=0.45, strings=0.2, winds=0.25,
               lead=0.6, synths=0.1),
    ),
    "spoken": Style(
        1.5, (60, 120), ("hiphop", "four"), (0.3, 0.4, 0.3),
        _stems(drums=0.35, bass=0.4, guitars=0.3, keys=0.5, synths=0.5, strings=0.2, effects=0.6,
               dialogue=1),
    ),
    "anything": Style(
        8, (55, 185), ("rock", "four", "hiphop", "trap", "break", "ballad", "swing", "tribal"),
        (0.4, 0.35, 0.25),
        _stems(drums=0.7, percussion=0.45, bass=0.7, guitars=0.45, keys=0.45, synths=0.45,
               strings=0.35, winds=0.35, lead=0.5, backing=0.35, effects=0.25, dialogue=0.03),
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
