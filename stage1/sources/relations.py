"""Which tracks of a session hold the same sound: microphones of one source, and copies.

Candidates are found by the shape of their envelopes, all pairs at once; what they have to do with
each other is then measured in their waveforms (:mod:`stage1.sources.coherence`). Two performances
of one part share an envelope and never a waveform, so a doubled guitar is no copy.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d

from pipeline.audio.samples import FileSamples, Samples
from pipeline.console.conditioning import Conditioning
from pipeline.roles import Role
from pipeline.units import Float32Array
from stage1.recognition.recognise import Recognition
from stage1.sources.classify import FAR_ROLES, judge, same_source
from stage1.sources.coherence import PASSAGE_S, Match, Passages, compare, joint_passages
from stage1.sources.grouping import by_kinship
from stage1.sources.records import Kind, Relation, Relations

__all__ = [
    "ENVELOPE_RATE",
    "Kind",
    "Relation",
    "TrackReader",
    "TrackSound",
    "find_relations",
    "inherit_roles",
    "likeness",
]


ENVELOPE_RATE = 100
"""Values of an envelope a second."""

_STEP = 5  # 50 ms
_DETAIL_STEPS = 21  # slower changes, such as verse and chorus, tell nothing of a source
_SILENT_POWER = 1e-7  # K-weighted, about -70 LUFS

# Across recognised sources: how alike envelopes must be to be looked at, and how many a track.
_CANDIDATE = 0.75
_MOST_CANDIDATES = 4
_MOST_OPEN = 16  # files, of which each keeps a buffer
_AGREEMENT = 0.8  # of the passages


@dataclass(frozen=True)
class TrackSound:
    """Where a track's sound is, and its course.

    Parameters
    ----------
    name
        The track's name in the session.
    path
        The file.
    offset_s
        Where it starts on the session's time line.
    envelope
        K-weighted power of each 10 ms from the start of the file, or the ``.npy`` that holds it.
    conditioning
        How the file's samples are set right; None keeps them.
    """

    name: str
    path: Path
    offset_s: float
    envelope: Float32Array | Path
    conditioning: Conditioning | None = None

    def power(self) -> Float32Array:
        """Return the envelope, starting at 0 s of the session."""
        held = np.load(self.envelope) if isinstance(self.envelope, Path) else self.envelope
        start = round(self.offset_s * ENVELOPE_RATE)
        return np.pad(np.asarray(held, np.float32), (max(start, 0), 0))


def likeness(envelopes: Sequence[Float32Array]) -> Float32Array:
    """Return how alike the envelopes of all tracks are.

    Parameters
    ----------
    envelopes
        Power each 10 ms, all from 0 s of the session; of any lengths.

    Returns
    -------
    ndarray, shape (tracks, tracks), float32
        Normalised correlation of the fourth roots without what is slower than a second, at the
        best of three shifts of 50 ms; NaN for silent tracks.
    """
    count = len(envelopes)
    steps = max((-(-e.size // _STEP) for e in envelopes), default=0)
    if steps == 0:
        return np.full((count, count), np.nan, np.float32)
    shapes = np.zeros((count, steps), np.float32)
    for shape, envelope in zip(shapes, envelopes, strict=True):
        mean = np.pad(envelope, (0, -envelope.size % _STEP)).reshape(-1, _STEP).mean(axis=1)
        if not mean.size or mean.max() < _SILENT_POWER:
            continue
        shape[: mean.size] = mean**0.25
        shape -= uniform_filter1d(shape, _DETAIL_STEPS, mode="nearest")
        size = float(np.linalg.norm(shape))
        shape /= size if size > 0.0 else 1.0
    later = shapes[:, 1:] @ shapes[:, :-1].T
    alike = np.maximum(shapes @ shapes.T, np.maximum(later, later.T))
    silent = ~shapes.any(axis=1)
    alike[silent] = np.nan
    alike[:, silent] = np.nan
    return alike


def find_relations(
    tracks: Sequence[TrackSound],
    recognitions: Sequence[Recognition],
    *,
    samples: Sequence[Samples] | None = None,
) -> Relations:
    """Find the copies and the microphones of one source among the tracks of a session.

    Parameters
    ----------
    tracks, recognitions
        One entry a track, in the same order.
    samples
        Where the tracks are read from; their files if not given.

    Returns
    -------
    Relations

    Raises
    ------
    ValueError
        If the sequences differ in length or order.
    """
    if [t.name for t in tracks] != [r.name for r in recognitions]:
        raise ValueError("tracks and recognitions are not of the same tracks in the same order")
    envelopes = [track.power() for track in tracks]
    alike = likeness(envelopes)
    names = tuple(track.name for track in tracks)
    # A microphone of a wrong role is measured against its siblings all the same.
    recognitions = by_kinship(recognitions, Relations(names, (), alike))
    seconds = [_seconds(envelope) for envelope in envelopes]
    relations = []
    with closing(TrackReader(tracks, samples)) as source:
        for i, j in _candidates(alike, recognitions):
            if _leads(recognitions[j], recognitions[i]):
                i, j = j, i
            match = source.match(i, j, joint_passages(seconds[i], seconds[j]))
            if match is None or match.agreement < _AGREEMENT:
                continue
            relation = judge(recognitions[i], recognitions[j], match, float(alike[i, j]))
            if relation is not None:
                relations.append(relation)
    return Relations(names, _reported_once(relations), alike)


def _seconds(envelope: Float32Array) -> Float32Array:
    size = PASSAGE_S * ENVELOPE_RATE
    return np.pad(envelope, (0, -envelope.size % size)).reshape(-1, size).mean(axis=1)


_POSITION_ORDER = ("close", "", "amp", "di", "out", "trigger", "sub", "bottom", "room")


def _leads(first: Recognition, second: Recognition) -> bool:
    """Whether ``first`` is nearer to the source than ``second``."""
    far = (first.role in FAR_ROLES, second.role in FAR_ROLES)
    if far[0] != far[1]:
        return far[1]
    if not same_source(first, second):
        return False
    ranks = [_POSITION_ORDER.index(r.position) for r in (first, second)]
    return ranks[0] < ranks[1]


def _candidates(alike: Float32Array, recognitions: Sequence[Recognition]) -> list[tuple[int, int]]:
    """Return the pairs to be measured: of one recognised source, or of nearly one envelope."""
    pairs = set()
    known = np.nan_to_num(alike, nan=-1.0)
    np.fill_diagonal(known, -1.0)
    for i, row in enumerate(known):
        for j in np.argsort(-row, kind="stable")[:_MOST_CANDIDATES]:
            if row[j] >= _CANDIDATE:
                pairs.add((min(i, int(j)), max(i, int(j))))
        for j in range(i + 1, len(row)):
            if row[j] > 0.0 and same_source(recognitions[i], recognitions[j]):
                pairs.add((i, j))
    return sorted(pairs)


class TrackReader:
    """Reads passages of the tracks, and compares them; to be closed.

    Parameters
    ----------
    tracks
        They are known by their places in this list.
    samples
        Where they are read from; their files if not given.
    passages
        What holds the spectra that were read; one of the usual size if not given.
    """

    def __init__(
        self,
        tracks: Sequence[TrackSound],
        samples: Sequence[Samples] | None = None,
        *,
        passages: Passages | None = None,
    ) -> None:
        self._tracks = tracks
        self._samples = samples
        self._open: OrderedDict[int, FileSamples] = OrderedDict()
        self._passages = Passages() if passages is None else passages

    def match(self, i: int, j: int, times: Sequence[float]) -> Match | None:
        """Compare the seconds of two tracks that begin at ``times``."""
        match = self._compare(i, j, times, 0.0)
        if match is not None and match.coherence > 0.5 and abs(match.delay_ms) > 0.5:
            # Read where the second has the same sound, or its end would be missing.
            whole_ms = round(match.delay_ms)
            moved = self._compare(i, j, times, whole_ms / 1000.0)
            if moved is not None and abs(moved.delay_ms) < 2.0:
                match = replace(moved, delay_ms=moved.delay_ms + whole_ms, at_zero=match.at_zero)
        return match

    def _compare(self, i: int, j: int, times: Sequence[float], later_s: float) -> Match | None:
        if not times:
            return None
        return compare(
            [self.spectrum(i, time) for time in times],
            [self.spectrum(j, time + later_s) for time in times],
        )

    def spectrum(self, index: int, time_s: float) -> npt.NDArray[np.complex64]:
        """Return the spectrum of a second of a track, as :meth:`Passages.spectrum`."""
        offset_s = self._tracks[index].offset_s
        return self._passages.spectrum(index, self.samples(index), offset_s, time_s)

    def samples(self, index: int) -> Samples:
        """Return a track, until others are read."""
        return self._samples[index] if self._samples else self._file(index)

    def _file(self, index: int) -> FileSamples:
        if index not in self._open:
            self._open[index] = FileSamples(
                self._tracks[index].path, conditioning=self._tracks[index].conditioning
            )
            if len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(index)
        return self._open[index]

    def close(self) -> None:
        """Close the files that were read."""
        for samples in self._open.values():
            samples.close()


def _reported_once(relations: Sequence[Relation]) -> tuple[Relation, ...]:
    """Keep one fault for each track: against the microphone that leads its source.

    Beside an inverted leader, or between two that are inverted, the rest would be blamed too.
    """
    related: dict[str, set[str]] = {}
    for relation in relations:
        related.setdefault(relation.second, set()).add(relation.first)
    result = []
    for relation in relations:
        # A nearer microphone that hears both is the one to be compared with.
        nearer = related.get(relation.first, set()) & related.get(relation.second, set())
        result.append(replace(relation, fault=None) if nearer else relation)
    return tuple(result)


def inherit_roles(
    recognitions: Sequence[Recognition], relations: Relations
) -> tuple[Recognition, ...]:
    """Give a track whose name says nothing the role of the track that holds the same sound.

    Parameters
    ----------
    recognitions
        One a track.
    relations
        What was found between them.

    Returns
    -------
    tuple of Recognition
        In the same order; only tracks of unknown role are changed.
    """
    known = {record.name: record for record in recognitions if record.role != Role.UNKNOWN}
    result = []
    for record in recognitions:
        if record.role == Role.UNKNOWN and record.confidence < 1.0:
            for relation in relations.pairs:
                pair = {relation.first, relation.second}
                (other,) = (pair - {record.name}) if record.name in pair else ("",)
                if other in known and not known[other].unsure:
                    twin = known[other]
                    record = replace(
                        record,
                        role=twin.role,
                        subgroup=twin.subgroup,
                        source=twin.source,
                        confidence=round(0.8 * twin.confidence, 2),
                        reason=f"holds the same sound as {other!r}",
                    )
                    break
        result.append(record)
    return tuple(result)
