"""What the phases of a mix may cost, so that one bar can show how far the whole is."""

from __future__ import annotations

from flows.engines.threads import default_workers
from flows.settings import MixSettings

__all__ = ["mix_costs"]

# Measured on sessions of 5 to 28 tracks, on two cores; only their ratios matter, as the pace of
# the machine is found on the way.
_ANALYSE, _BALANCE, _CONSOLE, _DELIVER = 0.020, 0.004, 0.002, 0.010


def mix_costs(
    settings: MixSettings, *, tracks: int, sounding_s: float, longest_s: float
) -> dict[str, float]:
    """Return the phases of a mix with the seconds that each may last.

    Parameters
    ----------
    tracks
        How many the session has.
    sounding_s
        The length of all of them together.
    longest_s
        That of the longest.
    """
    workers = min(settings.workers or default_workers(), max(tracks, 1))
    stems = min(tracks, 8)
    costs = {
        "check": 0.3,
        "analyse": 0.3 + _ANALYSE * sounding_s / workers,
        "balance": 0.1 + _BALANCE * sounding_s / workers,
    }
    if settings.recordings:
        costs["style"] = 0.5 * len(settings.recordings)
    if settings.strength > 0.0 and settings.match:
        if settings.controller:
            costs["predict"] = 2.5
        if settings.quality == "fast":
            costs["settle"] = 0.5 + 0.2 * stems
        else:
            costs |= {"refine": 1.0, "refine, gradient steps": 2.0 + 1.5 * stems}
    costs["console"] = 0.1 + _CONSOLE * (sounding_s + stems * longest_s) / workers
    costs["deliver"] = 0.1 + _DELIVER * longest_s
    costs["report"] = 2.5 + 0.05 * tracks
    return costs
