"""One-shots: single sounds found in folders, known by the beginnings of their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import signal

from pipeline.audio.stream import read

__all__ = ["SampleBank", "resampled"]

Sound = npt.NDArray[np.float32]

_SUFFIXES = frozenset({".flac", ".wav", ".mp3", ".ogg", ".aif", ".aiff"})
# Of several kinds whose patterns a name matches, the first counts.
_KINDS: tuple[tuple[str, str], ...] = (
    ("kick", "bd_* kick* drum_bass_* drum_heavy_kick elec_soft_kick elec_hollow_kick"),
    ("snare", "sn_* snare* drum_snare_* elec_*snare"),
    ("open_hat", "drum_cymbal_open"),
    ("hat", "hat_* drum_cymbal_closed drum_cymbal_pedal"),
    ("ride", "ride_*"),
    ("crash", "drum_cymbal_* drum_splash_* elec_cymbal cymbal*"),
    ("tom", "drum_tom_* elec_fuzz_tom"),
    ("clap", "perc_snap* clap*"),
    ("drum_loop", "arovane_beat_* loop_amen* loop_breakbeat loop_mehackit* loop_compus"),
    ("percussion_loop", "loop_perc* loop_tabla loop_safari conga_loop* shakers_* conga_roll*"),
    ("shaker", "shaker*"),
    ("tambourine", "tambourine*"),
    ("percussion", "tabla_* conga_* hand_drum_* drum_cowbell perc_bell* elec_wood elec_triangle"),
    ("bass", "bass_string*"),
    ("synth_bass", "bass_*"),
    ("effect", "perc_* misc_* vinyl_* glitch_* mehackit_* guitar_scrape* guitar_hit_* "
     "cello_torture* violin_s* flute_foghorn* sax_reed_squeak* piano_pad_* piano_strings_*"),
    ("ambience", "ambi_* loop_*"),
    ("electric_guitar", "guit_*"),
    ("acoustic_guitar", "guitar_*string* guitar_pick_*"),
    ("piano", "piano_*"),
    ("mallet", "kalimba*"),
    ("plucked", "banjo_* sitar*"),
    ("strings", "violin_bounce* cello_bow*"),
    ("flute", "flute_*"),
    ("saxophone", "sax_*"),
    ("female_voice", "femalevoice_*"),
    ("male_voice", "malevoice_*"),
    ("choir", "femalevoices_* malevoices_*"),
    ("synth", "elec_*"),
)  # fmt: skip
_NOTE = re.compile(r"_([A-Ga-g])([#b]?)(\d)$")
_STEPS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_LONGEST_S = 12.0


@dataclass(frozen=True)
class SampleBank:
    """One-shots by kind, decoded when they are first played.

    Parameters
    ----------
    files
        For each name the file; a file whose name tells no kind is left out.
    kinds
        For each kind (``kick``, ``snare``, ``synth_bass``, ...) its names, sorted.
    """

    files: Mapping[str, Path]
    kinds: Mapping[str, tuple[str, ...]]
    _decoded: dict[tuple[str, int], Sound] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _pitches: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, *folders: Path) -> SampleBank:
        """Return the sounds that lie in folders, not in their subfolders.

        Raises
        ------
        FileNotFoundError
            If a folder is not there.
        """
        files: dict[str, Path] = {}
        for folder in folders:
            for path in sorted(Path(folder).iterdir()):
                if path.suffix.lower() in _SUFFIXES and path.stem not in files:
                    files[path.stem] = path
        kinds: dict[str, list[str]] = {}
        for name in sorted(files):
            kind = next((k for k, patterns in _KINDS if _matches(name, patterns)), None)
            if kind is None:
                del files[name]
            else:
                kinds.setdefault(kind, []).append(name)
        return cls(files, {kind: tuple(names) for kind, names in kinds.items()})

    def __getstate__(self) -> dict[str, object]:
        """Return what is needed in another process: not the decoded sounds."""
        return {"files": self.files, "kinds": self.kinds, "_decoded": {}, "_pitches": {}}

    @cached_property
    def sounds(self) -> int:
        """How many sounds there are."""
        return len(self.files)

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of a kind, none where there is no such sound."""
        return self.kinds.get(kind, ())

    def sound(self, name: str, *, sample_rate: int) -> Sound:
        """Return a sound in mono from its beginning at a peak of 1, at most 12 s of it."""
        key = (name, sample_rate)
        if key not in self._decoded:
            audio = np.asarray(read(self.files[name], sample_rate=sample_rate)).mean(axis=0)
            peak = float(np.abs(audio).max(initial=0.0))
            if peak > 0.0:
                begins = int(np.argmax(np.abs(audio) > 0.01 * peak))
                audio = audio[max(begins - 32, 0) :] / peak
            self._decoded[key] = np.asarray(audio[: round(_LONGEST_S * sample_rate)], np.float32)
        return self._decoded[key]

    def pitch(self, name: str, *, sample_rate: int) -> float:
        """Return a sound's MIDI pitch, by its name or else its period; NaN without one."""
        if name not in self._pitches:
            named = _NOTE.search(name)
            if named is not None:
                step, accidental, octave = named.groups()
                shift = {"#": 1, "b": -1}.get(accidental, 0)
                pitch = 12.0 * (int(octave) + 1) + _STEPS[step.lower()] + shift
            else:
                pitch = _period_pitch(self.sound(name, sample_rate=sample_rate), sample_rate)
            self._pitches[name] = pitch
        return self._pitches[name]


def _matches(name: str, patterns: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns.split())


def _period_pitch(sound: Sound, rate: int) -> float:
    """Return the pitch of the strongest period between 30 Hz and 1.5 kHz."""
    part = sound[round(0.05 * rate) : round(0.55 * rate)].astype(np.float64)
    if len(part) < 0.1 * rate:
        return float("nan")
    correlation = signal.correlate(part, part, method="fft")[len(part) - 1 :]
    correlation /= np.maximum(np.arange(len(part), 0, -1), 1) * max(correlation[0], 1e-12)
    correlation *= len(part)
    first, last = round(rate / 1500.0), min(round(rate / 30.0), len(part) // 2)
    # The first peak that is nearly the best, so that an octave below does not win.
    best = float(correlation[first:last].max())
    if best < 0.5:
        return float("nan")
    peaks, _ = signal.find_peaks(correlation[first:last], height=0.9 * best)
    if not len(peaks):
        return float("nan")
    return float(69.0 + 12.0 * np.log2(rate / (first + int(peaks[0])) / 440.0))


def resampled(sound: Sound, ratio: float) -> Sound:
    """Return a sound read ``ratio`` times as fast, so that much higher."""
    if abs(ratio - 1.0) < 1e-4:
        return sound
    if ratio > 1.1:
        sos = signal.butter(4, 0.92 / ratio, output="sos")
        sound = np.asarray(signal.sosfilt(sos, sound), np.float32)
    at = np.arange(0.0, len(sound) - 1.0, ratio)
    return np.interp(at, np.arange(len(sound)), sound).astype(np.float32)
