"""Whether a voice needs a de-esser, and how it is set: a rule, from the levels of its sibilants."""

from __future__ import annotations

import numpy as np

from pipeline.console.deesser import DEESS_SLOPE
from pipeline.roles import Subgroup
from pipeline.units import Float64Array
from stage2.console.statistics import Digest
from stage2.priors.engineers import reduction_limits
from stage2.style.envelopes import BAND_EDGES_HZ

__all__ = ["deesser_settings"]

_VOICES = {Subgroup.LEAD_VOCALS, Subgroup.BACKING_VOCALS, Subgroup.DIALOGUE}
# Sibilants: frames in which more than half of the power lies over 4 kHz.
_LOWEST_HZ, _SIBILANT_SHARE = 4000.0, 0.5
_LEAST_FRAMES = 8
# Loud sibilants of finished voices reach about this, over 4 kHz against the voice's loudness; and
# less excess than the second is left alone.
_USUAL_LU, _LEAST_DB = -9.0, 1.0
_DEESS_HZ = 5500.0


def deesser_settings(subgroup: str, digest: Digest, row: int) -> dict[str, float]:
    """Return the settings of a stem's de-esser; none where it is no voice, or not sharp.

    Parameters
    ----------
    digest
        Of the stems.
    row
        Which of them it is.

    Notes
    -----
    The threshold lies where sibilants of finished voices end, and what is taken off is what the
    loud ones are over it, as far as goes unheard.
    """
    if subgroup not in _VOICES:
        return {}
    envelope: Float64Array = digest.envelope[row]
    high = envelope[:, np.asarray(BAND_EDGES_HZ[:-1]) >= _LOWEST_HZ].sum(axis=1)
    whole = envelope.sum(axis=1)
    sibilant = high > _SIBILANT_SHARE * np.maximum(whole, 1e-12)
    if sibilant.sum() < _LEAST_FRAMES:
        return {}
    level_lufs = float(digest.loudness_lufs[row])
    loud_lu = 10.0 * np.log10(float(np.percentile(high[sibilant], 90.0)) + 1e-12) - level_lufs
    excess_db = loud_lu - _USUAL_LU
    if excess_db < _LEAST_DB:
        return {}
    most_db = min(DEESS_SLOPE * excess_db, reduction_limits().deesser_db)
    return {
        "deess_db": round(most_db, 2),
        "deess_hz": _DEESS_HZ,
        "deess_threshold_lu": _USUAL_LU,
    }
