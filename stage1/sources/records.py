"""Records of what tracks of a session have to do with each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pipeline.units import Float32Array

__all__ = ["Fault", "Kind", "Relation", "Relations"]


Kind = Literal["duplicate", "copy delayed", "inverted", "microphones"]


@dataclass(frozen=True)
class Fault:
    """What the user should look at in a relation; of copies ``is_flipped`` alone is said.

    Parameters
    ----------
    is_inverted
        Whether the second microphone is inverted against the first.
    is_flipped
        Whether the mix turns the second over unasked.
    is_underside
        Whether the second is on the other side of a skin, where that is usual.
    usual_delay_ms
        The longest delay that is usual between such microphones, where theirs is longer.
    delay_ms
        Theirs, as it was measured: it is rounded once, where it is said.
    """

    is_inverted: bool = False
    is_flipped: bool = False
    is_underside: bool = False
    usual_delay_ms: float | None = None
    delay_ms: float = 0.0


@dataclass(frozen=True)
class Relation:
    """What two tracks have to do with each other.

    Parameters
    ----------
    first, second
        Names of the tracks; of two microphones the leading one is the first.
    kind
        ``duplicate``, ``copy delayed`` and ``inverted`` (a copy that cancels the other) are one
        recording; ``microphones`` are recordings of one source.
    correlation
        Normalised, K-weighted, at the delay; negative for opposite polarity.
    at_zero
        The same as the files stand: what their sum knows of.
    coherence
        How far they are the same in each third of an octave, 0 to 1.
    delay_ms
        How much later the second is.
    level_db
        Level of the second against the first.
    counted
        The correlation that the level of their sum is reckoned with, 0 to 1: as the files stand,
        and where there is a fault as if it were mended, so that no fault moves a balance.
    fault
        What the user should look at, if anything.
    """

    first: str
    second: str
    kind: Kind
    correlation: float
    at_zero: float
    coherence: float
    delay_ms: float
    inverted: bool
    level_db: float
    counted: float
    fault: Fault | None = None

    @property
    def one_recording(self) -> bool:
        """Whether the two are copies."""
        return self.kind != "microphones"


@dataclass(frozen=True)
class Relations:
    """All that was found between the tracks of a session.

    Parameters
    ----------
    names
        The tracks, in the session's order.
    pairs
        Relations, in the order of their tracks.
    alike
        Likeness of each two envelopes, as :func:`likeness`; NaN where a track is silent.
    """

    names: tuple[str, ...]
    pairs: tuple[Relation, ...] = ()
    alike: Float32Array = field(
        default_factory=lambda: np.zeros((0, 0), np.float32), repr=False, compare=False
    )

    def between(self, first: str, second: str) -> Relation | None:
        """Return what relates two tracks, in either order."""
        for relation in self.pairs:
            if {relation.first, relation.second} == {first, second}:
                return relation
        return None

    def likeness_of(self, first: str, second: str) -> float:
        """Return how alike two tracks' envelopes are; NaN where that is not known."""
        if first not in self.names or second not in self.names or not self.alike.size:
            return float("nan")
        return float(self.alike[self.names.index(first), self.names.index(second)])
