"""The recordings that recognition by sound is trained on, and what each of them is.

All are CC0 but the Berklee one-shots, which are CC BY 3.0. The tables were written by hand: they
are about these sets alone, and their names are no rule for others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from pipeline.audio.stream import read
from pipeline.roles import Role
from pipeline.synth.signals import Signal
from stage1.timbre.harmonics import pitch_frames

__all__ = ["CREDITS", "SAMPLE_RATE", "Corpus", "Recording", "Shots"]

SAMPLE_RATE = 44100

CREDITS: Mapping[str, str] = {
    "sodium": "CC0 1.0, Everything Is Remixed",
    "caesium": "CC0 1.0, Everything Is Remixed",
    "hydrogen": "CC0 1.0, Everything Is Remixed",
    "potassium": "CC0 1.0, Everything Is Remixed",
    "rubidium": "CC0 1.0, Everything Is Remixed",
    "oneshots": "CC0 1.0, the sample set of Sonic Pi",
    "berklee": "CC BY 3.0, OLPC Berklee Sound Library, Berklee College of Music and "
    "One Laptop per Child",
    "synthesised": "made by this project",
}
"""Licence and author of each source."""

_FOLDERS = {
    "sodium": "sessions/sodium",
    "caesium": "sessions/caesium",
    "hydrogen": "stems/hydrogen",
    "potassium": "stems/potassium",
    "rubidium": "stems/rubidium",
    "oneshots": "oneshots",
    "berklee": "oneshots_berklee",
}

# Names without their number. What may be several things at once is left out.
_TRACKS: Mapping[str, Role] = {
    "ALT_HATS": Role.HI_HAT,
    "BASS_STAB": Role.SYNTH_BASS,
    "BREAKBEAT": Role.DRUM_KIT,
    "CLAP": Role.CLAP,
    "DRUMS_*": Role.DRUM_KIT,
    "END_DRUMS": Role.DRUM_KIT,
    "FAST_HATS": Role.HI_HAT,
    "GARAGE_BEAT": Role.DRUM_KIT,
    "GLITCH_HH": Role.HI_HAT,
    "HATS": Role.HI_HAT,
    "HAT_FILL": Role.HI_HAT,
    "HH": Role.HI_HAT,
    "HH_BUILD": Role.HI_HAT,
    "HIGH_STABS": Role.SYNTH,
    "HVY_KICK": Role.KICK,
    "KEYS": Role.ELECTRIC_PIANO,
    "KICK": Role.KICK,
    "KICK_HATS": Role.DRUM_KIT,
    "K_&_SN": Role.DRUM_KIT,
    "MAIN_DRUMS": Role.DRUM_KIT,
    "MALLET": Role.MALLET,
    "MELODY_BREAK": Role.SYNTH,
    "MICROCOSM_EFFECT": Role.EFFECT,
    "MINILOGUE_SYNTH": Role.SYNTH,
    "OUTRO_DRUM": Role.DRUM_KIT,
    "PAD_+_BASS": Role.SYNTH_PAD,
    "PLUCK": Role.SYNTH,
    "REVERSE_SWEEP": Role.EFFECT,
    "RISE": Role.EFFECT,
    "SCRATCH_HATS": Role.HI_HAT,
    "SLOW_BEAT": Role.DRUM_KIT,
    "SNARE": Role.SNARE,
    "SWEEP": Role.EFFECT,
    "SWEEPS": Role.EFFECT,
    "SY_BASS": Role.SYNTH_BASS,
    "TOPS": Role.DRUM_KIT,
    "TRANSISTION": Role.EFFECT,
    "TRAP_BEAT": Role.DRUM_KIT,
    "VOX_LEAD": Role.LEAD_VOCAL,
    "BGVOX*": Role.LEAD_VOCAL,
}

# Set, names, role, how it is played. Where several match a file, the first counts.
_SHOTS: tuple[tuple[str, str, Role, str], ...] = (
    ("oneshots", "bd_* drum_bass_* drum_heavy_kick elec_soft_kick elec_hollow_kick",
     Role.KICK, "kick four"),
    ("oneshots", "sn_* drum_snare_* elec_*snare", Role.SNARE, "snare"),
    ("oneshots", "hat_* drum_cymbal_closed drum_cymbal_pedal",
     Role.HI_HAT, "eighths sixteenths offbeats"),
    ("oneshots", "ride_*", Role.CYMBAL, "ride"),
    ("oneshots", "drum_cymbal_* drum_splash_* elec_cymbal", Role.CYMBAL, "crash ride"),
    ("oneshots", "drum_tom_* elec_fuzz_tom", Role.TOM, "fills"),
    ("oneshots", "perc_snap*", Role.CLAP, "snare"),
    ("oneshots", "tabla_*", Role.PERCUSSION, "hands sparse"),
    ("oneshots", "drum_cowbell elec_wood elec_triangle elec_tick elec_pop",
     Role.PERCUSSION, "hands sparse eighths"),
    ("oneshots", "bass_drop_c", Role.EFFECT, "rare"),
    ("oneshots", "bass_* glitch_bass_g", Role.SYNTH_BASS, "notes:bass notes:riff"),
    ("oneshots", "guit_*",
     Role.ELECTRIC_GUITAR, "notes:strum notes:riff notes:arpeggio notes:line"),
    ("oneshots", "ambi_piano", Role.PIANO, "notes:line notes:arpeggio notes:comp"),
    ("oneshots", "ambi_choir", Role.LEAD_VOCAL, "sung"),
    ("oneshots", "ambi_* loop_3d_printer vinyl_hiss", Role.AMBIENCE, "loop rare"),
    ("oneshots", "elec_bell elec_chime elec_ping elec_beep elec_blip* elec_plip elec_twang "
     "elec_twip elec_blup", Role.SYNTH, "notes:arpeggio notes:riff notes:line"),
    ("oneshots", "arovane_beat_* loop_amen loop_amen_full loop_breakbeat loop_mehackit*",
     Role.DRUM_KIT, "loop"),
    ("oneshots", "loop_tabla loop_perc*", Role.PERCUSSION, "loop"),
    ("oneshots", "loop_drone_*", Role.SYNTH_PAD, "loop"),
    ("oneshots", "misc_* perc_impact* perc_sw* perc_door vinyl_* glitch_robot* mehackit_*",
     Role.EFFECT, "rare sparse"),
    ("berklee", "kick*", Role.KICK, "kick four"),
    ("berklee", "snare_*", Role.SNARE, "snare hands"),
    ("berklee", "cymbal*", Role.CYMBAL, "crash ride"),
    ("berklee", "conga_loop* conga_roll*", Role.PERCUSSION, "loop"),
    ("berklee", "conga_* hand_drum_*", Role.PERCUSSION, "hands sparse"),
    ("berklee", "shakers_* shaker_slow*", Role.SHAKER, "loop"),
    ("berklee", "shaker*", Role.SHAKER, "eighths sixteenths"),
    ("berklee", "tambourine*", Role.TAMBOURINE, "snare eighths sixteenths"),
    ("berklee", "bass_string*", Role.BASS, "notes:bass notes:riff"),
    ("berklee", "guitar_riff_*", Role.ACOUSTIC_GUITAR, "loop"),
    ("berklee", "guitar_scrape* guitar_hit_*", Role.EFFECT, ""),
    ("berklee", "guitar_chord* guitar_pick*", Role.ACOUSTIC_GUITAR, "notes:comp notes:line"),
    ("berklee", "guitar_*",
     Role.ACOUSTIC_GUITAR, "notes:strum notes:arpeggio notes:riff notes:lead notes:power"),
    ("berklee", "banjo_* sitar*", Role.PLUCKED, "notes:riff notes:arpeggio notes:line"),
    ("berklee", "piano_pad_* piano_strings_*", Role.EFFECT, ""),
    ("berklee", "piano_low_rhythmicloop", Role.PIANO, "loop"),
    ("berklee", "piano_*", Role.PIANO, "notes:comp notes:line notes:arpeggio notes:pad"),
    ("berklee", "kalimba*", Role.MALLET, "notes:arpeggio notes:riff"),
    ("berklee", "cello_* violin_*", Role.STRINGS, "notes:line notes:riff loop"),
    ("berklee", "flute_*", Role.FLUTE, "notes:line notes:lead"),
    ("berklee", "sax_*", Role.SAXOPHONE, "notes:line notes:lead"),
    ("berklee", "femalevoice_*", Role.LEAD_VOCAL, "sung"),
    ("berklee", "malevoice_*", Role.LEAD_VOCAL, "sung"),
    ("berklee", "femalevoices_*", Role.LEAD_VOCAL, "sung"),
    ("berklee", "malevoices_*", Role.LEAD_VOCAL, "sung"),
)  # fmt: skip


@dataclass(frozen=True)
class Recording:
    """One track of a production."""

    path: Path
    source: str
    role: Role

    def load(self) -> npt.NDArray[np.float32]:
        """Return ``(channels, frames)`` at :data:`SAMPLE_RATE`."""
        return np.asarray(read(self.path, sample_rate=SAMPLE_RATE), np.float32)


@dataclass(frozen=True)
class Shots:
    """Single sounds of one instrument, and the ways it is played.

    Parameters
    ----------
    manners
        Grooves; ``notes:`` and a manner; ``sung``; or ``loop``.
    """

    paths: tuple[Path, ...]
    source: str
    role: Role
    manners: tuple[str, ...]

    @cached_property
    def sounds(self) -> tuple[Signal, ...]:
        """The sounds in mono, from their beginning, at a peak of 1."""
        sounds = []
        for path in self.paths:
            audio = np.asarray(read(path, sample_rate=SAMPLE_RATE), np.float64).mean(axis=0)
            peak = float(np.abs(audio).max(initial=0.0))
            if peak > 0.0:
                begins = int(np.argmax(np.abs(audio) > 0.01 * peak))
                sounds.append(audio[max(begins - 64, 0) :] / peak)
        return tuple(sounds)

    @cached_property
    def pitches(self) -> tuple[float, ...]:
        """Their MIDI pitches; NaN without one."""
        pitches = []
        for sound in self.sounds:
            low = np.asarray(resample_poly(sound[: 3 * SAMPLE_RATE], 1, 4), np.float32)
            frames = pitch_frames(low[None], rate=SAMPLE_RATE / 4)
            hertz = frames.hertz[frames.periodicity > 0.7]
            median = float(np.median(hertz)) if hertz.size > 2 else np.nan
            pitches.append(69.0 + 12.0 * np.log2(median / 440.0))
        return tuple(pitches)


class Corpus:
    """All recordings under a folder laid out as ``sessions/``, ``stems/`` and ``oneshots*/``.

    Parameters
    ----------
    folder
        Where the sets lie.

    Raises
    ------
    FileNotFoundError
        If one of the sets is not there.
    """

    def __init__(self, folder: Path) -> None:
        for name in _FOLDERS.values():
            if not (folder / name).is_dir():
                msg = f"{folder / name} is not there: name the folder that holds the sets"
                raise FileNotFoundError(msg)
        self.folder = folder
        self.recordings = tuple(self._recordings())
        self.shots = tuple(self._shots())

    def files(self) -> list[Path]:
        """Return every file that is used, in the order of their names."""
        used = {recording.path for recording in self.recordings}
        used.update(path for shots in self.shots for path in shots.paths)
        return sorted(used)

    def _recordings(self) -> Iterator[Recording]:
        for source, name in _FOLDERS.items():
            if name.startswith("oneshots"):
                continue
            for path in sorted((self.folder / name).iterdir()):
                label = path.stem.split("_", 1)[-1]
                for pattern, role in _TRACKS.items():
                    if fnmatchcase(label, pattern):
                        yield Recording(path, source, role)
                        break

    def _shots(self) -> Iterator[Shots]:
        taken: set[Path] = set()
        for source, patterns, role, manners in _SHOTS:
            paths = [
                path
                for path in sorted((self.folder / _FOLDERS[source]).iterdir())
                if path not in taken
                and any(fnmatchcase(path.stem, pattern) for pattern in patterns.split())
            ]
            taken.update(paths)
            if manners:
                yield Shots(tuple(paths), source, role, tuple(manners.split()))
