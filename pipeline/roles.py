"""What a track can be, and which subgroup each role is balanced in."""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "CENTRED_ROLES",
    "CENTRED_SUBGROUPS",
    "SUBGROUP_OF",
    "UTILITY_ROLES",
    "Presence",
    "Role",
    "Subgroup",
]


class Subgroup(StrEnum):
    """The tracks that are balanced together; each becomes one stem."""

    DRUMS = "drums"
    PERCUSSION = "percussion"
    BASS = "bass"
    GUITARS = "guitars"
    KEYS = "keys"
    SYNTHS = "synths"
    STRINGS = "strings"
    WINDS = "winds"
    LEAD_VOCALS = "lead_vocals"
    BACKING_VOCALS = "backing_vocals"
    EFFECTS = "effects"
    DIALOGUE = "dialogue"
    OTHER = "other"


class Presence(StrEnum):
    """How far in front a track is wanted."""

    LEAD = "lead"
    NORMAL = "normal"
    BACKGROUND = "background"


class Role(StrEnum):
    """What a track is."""

    KICK = "kick"
    SNARE = "snare"
    CLAP = "clap"
    TOM = "tom"
    HI_HAT = "hi_hat"
    CYMBAL = "cymbal"
    OVERHEAD = "overhead"
    ROOM = "room"
    DRUM_KIT = "drum_kit"
    PERCUSSION = "percussion"
    SHAKER = "shaker"
    TAMBOURINE = "tambourine"
    BASS = "bass"
    SYNTH_BASS = "synth_bass"
    ELECTRIC_GUITAR = "electric_guitar"
    LEAD_GUITAR = "lead_guitar"
    ACOUSTIC_GUITAR = "acoustic_guitar"
    PLUCKED = "plucked"
    PIANO = "piano"
    ELECTRIC_PIANO = "electric_piano"
    ORGAN = "organ"
    KEYS = "keys"
    MALLET = "mallet"
    SYNTH = "synth"
    SYNTH_LEAD = "synth_lead"
    SYNTH_PAD = "synth_pad"
    ARPEGGIO = "arpeggio"
    VIOLIN = "violin"
    VIOLA = "viola"
    CELLO = "cello"
    DOUBLE_BASS = "double_bass"
    STRINGS = "strings"
    TRUMPET = "trumpet"
    TROMBONE = "trombone"
    HORN = "horn"
    TUBA = "tuba"
    BRASS = "brass"
    SAXOPHONE = "saxophone"
    FLUTE = "flute"
    REED = "reed"
    WOODWIND = "woodwind"
    LEAD_VOCAL = "lead_vocal"
    VOCAL_DOUBLE = "vocal_double"
    BACKING_VOCAL = "backing_vocal"
    CHOIR = "choir"
    EFFECT = "effect"
    AMBIENCE = "ambience"
    SAMPLE = "sample"
    DIALOGUE = "dialogue"
    CLICK = "click"
    TALKBACK = "talkback"
    TIMECODE = "timecode"
    UNKNOWN = "unknown"


def _roles(subgroup: Subgroup, *roles: Role) -> dict[Role, Subgroup]:
    return dict.fromkeys(roles, subgroup)


SUBGROUP_OF: dict[Role, Subgroup] = {
    **_roles(
        Subgroup.DRUMS,
        Role.KICK,
        Role.SNARE,
        Role.CLAP,
        Role.TOM,
        Role.HI_HAT,
        Role.CYMBAL,
        Role.OVERHEAD,
        Role.ROOM,
        Role.DRUM_KIT,
    ),
    **_roles(Subgroup.PERCUSSION, Role.PERCUSSION, Role.SHAKER, Role.TAMBOURINE),
    **_roles(Subgroup.BASS, Role.BASS, Role.SYNTH_BASS, Role.DOUBLE_BASS),
    **_roles(
        Subgroup.GUITARS,
        Role.ELECTRIC_GUITAR,
        Role.LEAD_GUITAR,
        Role.ACOUSTIC_GUITAR,
        Role.PLUCKED,
    ),
    **_roles(Subgroup.KEYS, Role.PIANO, Role.ELECTRIC_PIANO, Role.ORGAN, Role.KEYS, Role.MALLET),
    **_roles(Subgroup.SYNTHS, Role.SYNTH, Role.SYNTH_LEAD, Role.SYNTH_PAD, Role.ARPEGGIO),
    **_roles(Subgroup.STRINGS, Role.VIOLIN, Role.VIOLA, Role.CELLO, Role.STRINGS),
    **_roles(
        Subgroup.WINDS,
        Role.TRUMPET,
        Role.TROMBONE,
        Role.HORN,
        Role.TUBA,
        Role.BRASS,
        Role.SAXOPHONE,
        Role.FLUTE,
        Role.REED,
        Role.WOODWIND,
    ),
    **_roles(Subgroup.LEAD_VOCALS, Role.LEAD_VOCAL, Role.VOCAL_DOUBLE),
    **_roles(Subgroup.BACKING_VOCALS, Role.BACKING_VOCAL, Role.CHOIR),
    **_roles(Subgroup.EFFECTS, Role.EFFECT, Role.AMBIENCE, Role.SAMPLE),
    **_roles(Subgroup.DIALOGUE, Role.DIALOGUE),
    **_roles(Subgroup.OTHER, Role.CLICK, Role.TALKBACK, Role.TIMECODE, Role.UNKNOWN),
}

UTILITY_ROLES: frozenset[Role] = frozenset({Role.CLICK, Role.TALKBACK, Role.TIMECODE})
"""What is recorded for the session's work and not for the mix."""

CENTRED_ROLES: frozenset[Role] = frozenset(
    {Role.KICK, Role.SNARE, Role.BASS, Role.SYNTH_BASS, Role.LEAD_VOCAL, Role.DIALOGUE}
)

CENTRED_SUBGROUPS: frozenset[Subgroup] = frozenset(
    {Subgroup.DRUMS, Subgroup.BASS, Subgroup.LEAD_VOCALS, Subgroup.DIALOGUE}
)
