"""Which files of a session are no part of the mix: what serves the recording, sums, takes, copies.

What is left out is told with the reason, and what the user asks for in ``session.toml`` is kept.
What may be one and may be none stays in the mix, with a note that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.audio.samples import Samples
from pipeline.roles import UTILITY_ROLES, Role
from pipeline.session.settings import TrackOverrides
from stage1.exclusions.reference_copies import copies_of_reference
from stage1.exclusions.submix import Submix, find_submixes
from stage1.exclusions.takes import find_comps
from stage1.exclusions.utility import is_click, is_timecode
from stage1.recognition.recognise import UNSURE_BELOW, Recognition
from stage1.sources.classify import FAR_ROLES
from stage1.sources.coherence import Passages
from stage1.sources.relations import TrackReader, TrackSound

__all__ = ["Exclusion", "Exclusions", "find_exclusions"]

_SPECTRA = 512
_SEVERAL_SOURCES, _ONE_SOURCE = 0.7, 0.95
"""How much of a track others must explain: a bus of several, and what may be a microphone more."""
_NAMED = 4
# A copy of a bus that was crushed is made to be mixed with it, and so is what effects return.
_PARALLEL = re.compile(
    r"parallel|crush|smash|squash|trash|(?<![a-z])(ny|new.?york|dirt)(?![a-z])", re.IGNORECASE
)
_RETURN = re.compile(
    r"reverb|delay|echo|chorus|flanger|phaser|widen|doubler|returns?(?![a-z])"
    r"|(?<![a-z])(adt|fx|hall|plate|room|slap(back)?|spring|throws?|verb|wet)(?![a-z])",
    re.IGNORECASE,
)
_ECHO_MS = 5.0
"""A return that comes so late is an echo of what it sums."""
_COUNTED_APART = re.compile(r" #\d+$")
_VOICES = frozenset({Role.LEAD_VOCAL, Role.VOCAL_DOUBLE, Role.DIALOGUE})


@dataclass(frozen=True)
class Exclusion:
    """A track that is not mixed, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Exclusions:
    """What is left out, in the session's order, and what was noticed of the rest."""

    tracks: tuple[Exclusion, ...] = ()
    notes: tuple[str, ...] = ()


def find_exclusions(
    tracks: Sequence[TrackSound],
    recognitions: Sequence[Recognition],
    overrides: Sequence[TrackOverrides],
    *,
    references: Sequence[Path] = (),
    samples: Sequence[Samples] | None = None,
) -> Exclusions:
    """Find the tracks that are no part of the mix.

    Parameters
    ----------
    tracks, recognitions, overrides
        One entry a track, in the same order.
    references
        Finished mixes that may lie among the tracks.
    samples
        Where the tracks are read from; their files if not given.

    Returns
    -------
    Exclusions
        Never all tracks that sound: what would be alone is kept.

    Raises
    ------
    ValueError
        If the sequences differ in length.
    """
    if not len(tracks) == len(recognitions) == len(overrides):
        raise ValueError(
            f"{len(tracks)} tracks, {len(recognitions)} recognitions, {len(overrides)} overrides"
        )
    with closing(TrackReader(tracks, samples, passages=Passages(_SPECTRA))) as reader:
        search = _Search(tracks, recognitions, overrides, reader)
        search.utilities()
        for reference in references:
            search.references(reference)
        search.guides()
        search.takes()
        search.sums()
    return search.result()


@dataclass
class _Search:
    """Goes through the kinds of exclusions, each among what the earlier ones left."""

    tracks: Sequence[TrackSound]
    recognitions: Sequence[Recognition]
    overrides: Sequence[TrackOverrides]
    reader: TrackReader
    why: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.envelopes = [track.power() for track in self.tracks]
        self.audible = [bool(e.size and e.max() > 0.0) for e in self.envelopes]
        self.wanted = [
            override.use is True
            or (override.role is not None and override.role not in UTILITY_ROLES)
            for override in self.overrides
        ]

    def result(self) -> Exclusions:
        sounding = {i for i, audible in enumerate(self.audible) if audible}
        if not sounding - set(self.why):
            return Exclusions(
                notes=tuple(
                    f"{self.tracks[i].name!r} {why}; it is mixed, as nothing else would be left"
                    for i, why in sorted(self.why.items())
                )
            )
        return Exclusions(
            tuple(Exclusion(self.tracks[i].name, why) for i, why in sorted(self.why.items())),
            tuple(self.notes),
        )

    def _left(self) -> list[int]:
        return [i for i in range(len(self.tracks)) if i not in self.why]

    def _open(self) -> Iterator[int]:
        """Yield the audible tracks that may be left out."""
        for i in self._left():
            if self.audible[i] and not self.wanted[i]:
                yield i

    def _name(self, index: int) -> str:
        return self.tracks[index].name

    def _listed(self, indices: Sequence[int]) -> str:
        names = [repr(self._name(i)) for i in indices[:_NAMED]]
        more = len(indices) - _NAMED
        return ", ".join(names) + (f" and {more} more" if more > 0 else "")

    def utilities(self) -> None:
        """Leave out click, talkback and timecode, by their names and by their signals."""
        song_s = max((e.size for e in self.envelopes), default=0) / 100.0
        for i in range(len(self.tracks)):
            record = self.recognitions[i]
            if self.wanted[i]:
                continue
            if record.role in UTILITY_ROLES:
                self.why[i] = f"{record.role.value}: {record.reason}"
            elif self.audible[i] and self._holds_timecode(i):
                self.why[i] = "timecode: its signal is a time code (LTC)"
            elif (
                self.audible[i]
                and len(self.tracks) > 2
                and (record.by_sound or record.role == Role.UNKNOWN)
                and is_click(self.reader.samples(i), self._raw(i), song_s=song_s)
            ):
                self.why[i] = (
                    "click: its name says nothing, and it is one short pip on every beat from "
                    "beginning to end"
                )

    def _raw(self, index: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """Return an envelope from the start of the file."""
        start = max(round(self.tracks[index].offset_s * 100), 0)
        return self.envelopes[index][start:]

    def _holds_timecode(self, index: int) -> bool:
        return is_timecode(self.reader.samples(index), self._raw(index))

    def references(self, reference: Path) -> None:
        """Leave out copies of a reference."""
        indices = list(self._open())
        copies = copies_of_reference(
            reference,
            [self._raw(i) for i in indices],
            lambda k: self.reader.samples(indices[k]),
        )
        for k in copies:
            self.why[indices[k]] = f"is the reference {reference.name}, or a part of it"

    def guides(self) -> None:
        """Leave out what was sung or played to be replaced, where that was done."""
        for i in list(self._open()):
            record = self.recognitions[i]
            if not record.is_guide:
                continue
            roles = _VOICES if record.role in _VOICES else frozenset({record.role})
            if record.role == Role.UNKNOWN:
                roles = frozenset({Role.LEAD_VOCAL})
            real = [
                j
                for j in self._left()
                if self.audible[j]
                and not self.recognitions[j].is_guide
                and self.recognitions[j].role in roles
                and self.recognitions[j].confidence >= UNSURE_BELOW
            ]
            if real:
                self.why[i] = f"is a guide, by its name, beside {self._listed(real)}"

    def takes(self) -> None:
        """Leave out takes beside the comp that was made of them."""
        indices = [i for i in self._left() if self.audible[i]]
        comps = find_comps(
            [self.envelopes[i] for i in indices],
            [self.recognitions[i].subgroup for i in indices],
        )
        for comp in comps:
            made = self._name(indices[comp.track])
            cut = [indices[k] for k in comp.takes]
            names = {_part(self.recognitions[i]) for i in cut}
            for i in list(self._open()):
                record = self.recognitions[i]
                if i in cut:
                    self.why[i] = f"is a take of which {made!r} was cut"
                elif record.is_take and _part(record) in names and i != indices[comp.track]:
                    self.why[i] = f"is a take, by its name, beside {made!r}, cut of others"
        for i in self._left():
            comp_record = self.recognitions[i]
            if not (comp_record.is_comp and self.audible[i]):
                continue
            for j in list(self._open()):
                record = self.recognitions[j]
                is_take = record.is_take and not (record.is_comp or record.is_double)
                if is_take and _part(record) == _part(comp_record):
                    self.why[j] = f"is a take, by its name, beside the comp {self._name(i)!r}"

    def sums(self) -> None:
        """Leave out tracks that hold the sum of others."""
        indices = [i for i in self._left() if self.audible[i]]
        submixes = find_submixes(
            [self.envelopes[i] for i in indices],
            lambda k, time_s: self.reader.spectrum(indices[k], time_s),
            asked=[not self.wanted[i] for i in indices],
        )
        for submix in submixes:
            target = indices[submix.track]
            members = [indices[k] for k in submix.members]
            share = f"{100.0 * submix.explained:.0f} % of its sound"
            if self._is_sum(submix, target, members):
                if submix.complete:
                    self.why[target] = f"is the sum of {self._listed(members)}: {share}"
                    continue
                self.notes.append(
                    f"{self._name(target)!r} holds {self._listed(members)} ({share}) and "
                    "something that no other track has, so they are mixed together: give it "
                    "use = false in session.toml, or them"
                )
            elif self.recognitions[target].role not in FAR_ROLES and not self._is_echo(
                submix, target
            ):
                self.notes.append(
                    f"{self._name(target)!r} may be the sum of {self._listed(members)} "
                    f"({share}): if it is, give it use = false in session.toml"
                )

    def _is_sum(self, submix: Submix, target: int, members: Sequence[int]) -> bool:
        record = self.recognitions[target]
        sources = {(self.recognitions[i].role, _part(self.recognitions[i])) for i in members}
        is_near = record.role in FAR_ROLES - {Role.DRUM_KIT}
        limit = _ONE_SOURCE if is_near or len(sources) < 2 else _SEVERAL_SOURCES
        if submix.explained < limit or self._is_echo(submix, target):
            return False
        name = self._name(target)
        is_made = not (_PARALLEL.search(name) or _RETURN.search(name))
        return is_made or submix.explained >= _ONE_SOURCE

    def _is_echo(self, submix: Submix, target: int) -> bool:
        return submix.delay_ms > _ECHO_MS and _RETURN.search(self._name(target)) is not None


def _part(record: Recognition) -> str:
    """Return what the takes of one part share."""
    return f"{record.subgroup} {_COUNTED_APART.sub('', record.source)}"
