"""Broadcast time stamps, seconds since midnight, as starts on one song's time line."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["LONGEST_GAP_S", "starts_from_stamps"]

LONGEST_GAP_S = 600.0
"""More silence than this between two tracks is no song, but stamps of different clocks."""

_DAY_S = 86_400.0


def starts_from_stamps(
    stamps_s: Sequence[float], durations_s: Sequence[float]
) -> list[float] | None:
    """Return where each track starts after the earliest one.

    Parameters
    ----------
    stamps_s
        Seconds since midnight; a recording may go on past midnight.
    durations_s
        How long each track lasts.

    Returns
    -------
    list of float or None
        None when the stamps leave a gap of more than :data:`LONGEST_GAP_S` without any track, as
        they do when some programs write 0 for "no stamp".

    Examples
    --------
    >>> starts_from_stamps([86_399.0, 1.0], [10.0, 10.0])
    [0.0, 2.0]
    """
    if not stamps_s:
        return []
    unwrapped = list(stamps_s)
    if max(stamps_s) - min(stamps_s) > _DAY_S / 2.0:
        unwrapped = [s + _DAY_S if s < _DAY_S / 2.0 else s for s in stamps_s]
    first = min(unwrapped)
    heard_until = first
    for start, duration in sorted(zip(unwrapped, durations_s, strict=True)):
        if start - heard_until > LONGEST_GAP_S:
            return None
        heard_until = max(heard_until, start + duration)
    return [start - first for start in unwrapped]
