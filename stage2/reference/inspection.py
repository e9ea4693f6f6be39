"""Look over a reference for faults of the copy, and mend those that can be mended."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.loudness.meter import integrated_loudness
from pipeline.units import Float64Array, FloatArray, power_to_db
from stage2.reference.band_limits import (
    INFRASONIC_HZ,
    LOWER_HZ,
    UPPER_HZ,
    RecordingPowers,
    is_noise,
    lower_limit,
    measure_powers,
    stands_out,
    upper_limit_hz,
)
from stage2.reference.faults import Condition, Fault, Repair, Trust
from stage2.style.envelopes import RANGES_HZ
from stage2.style.measure import THIRD_OCTAVES_HZ, WIDTH_FLOOR_DB

__all__ = ["inspect_reference"]

Mask = npt.NDArray[np.bool_]

_EPSILON = 1e-20

# A pause of this length that is this far under the loudest moment is no part of the music.
_SILENCE_S, _SILENCE_DB, _BLOCK_S = 5.0, -70.0, 0.1
# Against the RMS of the whole.
_DC_DB = -30.0
# Beyond the first a channel is missing; beyond the second no engineer has placed the instruments.
_DEAD_DB, _LOPSIDED_DB = 20.0, 3.0
# A channel that is too quiet is so in most octaves that are not empty; instruments lean in some.
_OCTAVES_HZ, _HELD_DB = 62.5 * 2.0 ** np.arange(7), 30.0
_INVERTED_CORRELATION = -0.2
# Wide mixes of real rooms come down to a side 35 dB under the mid; under this it is one signal.
_MONO_DB = WIDTH_FLOOR_DB
# Under it nothing is finished: broadcast asks for -23 LUFS, and quiet classical records reach it.
_QUIETEST_LUFS = -24.0
# Over it clipping has made the loudness, too.
_LOUDEST_CLIPPED_LUFS = -9.0
# Share of samples in flat tops. Loud masters of the day stay under a tenth of it.
_CLIPPED_SHARE, _CLIPPED_RUN = 0.005, 3
# Power under the lowest notes, per hertz, against that of bass notes.
_RUMBLE_HZ, _BASS_HZ = (20.0, 38.0), (40.0, 120.0)
_LOW_MIDDLE_HZ = (120.0, 500.0)  # where a recording has no bass
_INFRASONIC_DB, _RUMBLE_DB, _RUMBLE_TOP_HZ = -10.0, 3.0, 45.0
# Mean over the 10th percentile in time. Music moves by more in any band, noise by its own chance.
_STEADY_DB, _STEADY_RUMBLE_DB, _STEADY_LINE_DB = 2.5, 4.0, 1.5
_HUM_HZ = (50.0, 60.0)


def inspect_reference(audio: FloatArray, *, sample_rate: int) -> tuple[FloatArray, Condition]:
    """Find the faults of a reference, and mend what can be mended.

    Parameters
    ----------
    audio
        ``(1, frames)`` or ``(2, frames)``.
    sample_rate
        In Hz.

    Returns
    -------
    audio : ndarray
        ``(2, frames)`` to measure the style of; of a reference without faults the samples are those
        given.
    condition : Condition
        The faults, in the order in which they were looked for.
    """
    inspection = _Inspection(audio, sample_rate)
    if not np.any(inspection.audio):
        return inspection.audio, Condition()
    inspection.offset()
    inspection.silence()
    inspection.clipping()
    inspection.channels(mono=audio.shape[0] == 1)
    inspection.loudness()
    inspection.spectrum()
    return inspection.audio, inspection.condition()


class _Inspection:
    """One look at a reference: the audio as far as it is mended, and what was seen."""

    def __init__(self, audio: FloatArray, sample_rate: int) -> None:
        self.audio = np.repeat(audio, 2, axis=0) if audio.shape[0] == 1 else audio[:2]
        self._rate = sample_rate
        self._faults: list[Fault] = []
        self._repair: dict[str, Any] = {}
        self._lost: dict[str, Any] = {}
        self._low_width = True
        self._bands: Mask = np.ones(len(THIRD_OCTAVES_HZ), dtype=bool)

    def condition(self) -> Condition:
        """Return what was seen."""
        return Condition(
            tuple(self._faults),
            Trust(**self._lost, **self._ranges(), bands=tuple(self._bands.tolist())),
            Repair(**self._repair),
        )

    def _ranges(self) -> dict[str, Any]:
        """Return the trust by range: a range is lost with most of its bands."""
        kept = [bool(self._bands[_in_range(low, high)].mean() >= 0.5) for low, high in RANGES_HZ]
        ranges: dict[str, Any] = {"punch_by_range": tuple(kept)}
        if "width_by_range" not in self._lost:
            ranges["width_by_range"] = (kept[0] and self._low_width, *kept[1:])
        return ranges

    def _say(self, kind: str, what: str, consequence: str) -> None:
        self._faults.append(Fault(kind, what, consequence))

    def _mend(self, **repair: Any) -> None:
        """Take a repair down, and do it to the audio."""
        self._repair |= repair
        self.audio = Repair(**repair).apply(self.audio, sample_rate=self._rate)

    def offset(self) -> None:
        """Look for DC."""
        offset = self.audio.mean(axis=1, dtype=np.float64)
        rms = np.sqrt(np.mean(np.square(self.audio, dtype=np.float64)))
        if np.abs(offset).max() > rms * 10.0 ** (_DC_DB / 20.0):
            worst = float(offset[np.abs(offset).argmax()])
            self._mend(offset=tuple(float(v) for v in offset))
            self._say("DC", f"has a DC offset of {worst:+.3f}", "it is taken off before measuring")

    def silence(self) -> None:
        """Look for long silence, which is cut out: no repair, since it is of the whole file."""
        size = max(round(_BLOCK_S * self._rate), 1)
        count = self.audio.shape[1] // size
        if count < 2:
            return
        shaped = self.audio[:, : count * size].reshape(2, count, size)
        power = np.einsum("cwf,cwf->w", shaped, shaped, dtype=np.float64)
        quiet = power <= power.max() * 10.0 ** (_SILENCE_DB / 10.0)
        edges = np.flatnonzero(np.diff(np.concatenate(([0], quiet.view(np.int8), [0]))))
        keep = np.ones(self.audio.shape[1], dtype=bool)
        for first, last in edges.reshape(-1, 2):
            if (last - first) * _BLOCK_S >= _SILENCE_S:
                keep[first * size : last * size] = False
        cut_s = float(np.count_nonzero(~keep)) / self._rate
        if cut_s:
            self.audio = np.ascontiguousarray(self.audio[:, keep])
            self._say("silence", f"is silent for {cut_s:.0f} s", "the silence is not measured")

    def clipping(self) -> None:
        """Look for flat tops."""
        peak = np.abs(self.audio).max()
        top = np.abs(self.audio) >= 0.9995 * peak
        runs = top.copy()
        for lag in range(1, _CLIPPED_RUN):
            runs[:, lag:] &= top[:, :-lag]
        share = float(runs[:, _CLIPPED_RUN - 1 :].mean())
        if share > _CLIPPED_SHARE:
            self._lost["dynamics"] = False
            self._say(
                "clipping",
                f"is clipped in {100.0 * share:.1f} % of its samples",
                "its dynamics are not followed",
            )

    def channels(self, *, mono: bool) -> None:
        """Look at left against right."""
        low, whole = self._channel_powers()
        left, right, cross = whole
        lean_db = power_to_db((right + _EPSILON) / (left + _EPSILON))
        if abs(lean_db) > _DEAD_DB:
            dead, alive = ("left", 1) if lean_db > 0.0 else ("right", 0)
            self._mend(sources=(alive, alive))
            self._lose_width()
            self._say(
                "dead channel",
                f"has a dead {dead} channel ({-abs(lean_db):.0f} dB)"
                if left > 0.0 and right > 0.0
                else f"has a dead {dead} channel",
                "the other is taken as the middle, and its width is not followed",
            )
            return
        side_db = power_to_db(
            (left + right - 2.0 * cross + _EPSILON) / (left + right + 2.0 * cross)
        )
        if mono or side_db < _MONO_DB:
            self._lose_width()
            self._say("mono", "is mono", "its width is not followed")
            return
        correlation = cross / np.sqrt(left * right)
        low_correlation = low[2] / np.sqrt(low[0] * low[1] + _EPSILON)
        if correlation < _INVERTED_CORRELATION and low_correlation < 0.0:
            self._mend(gains=(1.0, -1.0))
            self._say(
                "inverted channel",
                f"has an inverted channel (correlation {correlation:.2f})",
                "it is turned back before measuring",
            )
        if abs(lean_db) > _LOPSIDED_DB:
            self._lopsided(lean_db)

    def _lopsided(self, lean_db: float) -> None:
        """Tell a channel that is too quiet from instruments that stand on one side."""
        self._lost["imbalance"] = False
        side = "right" if lean_db > 0.0 else "left"
        if np.median(self._leans()) * np.sign(lean_db) < _LOPSIDED_DB / 2.0:
            self._say(
                "leaning",
                f"leans {abs(lean_db):.1f} dB to the {side} by instruments that stand there",
                "the mix stays even",
            )
            return
        half = 10.0 ** (lean_db / 40.0)
        sign = self._repair.get("gains", (1.0, 1.0))[1]
        self._mend(gains=(half, 1.0 / half))
        self._repair["gains"] = (half, sign / half)
        self._say(
            "lopsided",
            f"is {abs(lean_db):.1f} dB louder on the {side}",
            "both sides are measured as equally loud",
        )

    def _leans(self) -> Float64Array:
        """Return right against left in dB in each octave that holds much of the power."""
        powers = self._powers()
        frequency = self._frequency(powers.left.size)
        inside = [(frequency >= low) & (frequency < 2.0 * low) for low in _OCTAVES_HZ]
        left, right = (
            np.asarray([p[band].sum() for band in inside]) + _EPSILON
            for p in (powers.left, powers.right)
        )
        held = left + right > (left + right).max() * 10.0 ** (-_HELD_DB / 10.0)
        return np.asarray(10.0 * np.log10(right[held] / left[held]))

    def _lose_width(self) -> None:
        self._lost |= {
            "width": False,
            "width_by_range": (False,) * len(RANGES_HZ),
            "imbalance": False,
        }

    def _channel_powers(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Return left, right and cross power under 200 Hz, and of all over 20 Hz."""
        powers = self._powers()
        frequency = self._frequency(powers.left.size)

        def of(low: float, high: float) -> tuple[float, float, float]:
            band = (frequency >= low) & (frequency < high)
            return tuple(  # type: ignore[return-value]
                float(p[band].sum()) for p in (powers.left, powers.right, powers.cross)
            )

        return of(20.0, 200.0), of(20.0, np.inf)

    def _frequency(self, bins: int) -> Float64Array:
        return np.linspace(0.0, self._rate / 2.0, bins)

    def loudness(self) -> None:
        """Look at how loud it is."""
        loudness = integrated_loudness(self.audio, sample_rate=self._rate)
        if not self._lost.get("dynamics", True) and loudness > _LOUDEST_CLIPPED_LUFS:
            self._lost["loudness"] = False
        if np.isfinite(loudness) and loudness < _QUIETEST_LUFS:
            self._lost["loudness"] = False
            self._say(
                "quiet",
                f"is {loudness:.1f} LUFS, quieter than finished mixes are",
                "its loudness is not followed",
            )

    def spectrum(self) -> None:
        """Look for what filters, encoders, turntables and mains do to a spectrum."""
        powers = self._powers()
        frequency = self._frequency(powers.left.size)
        density = (powers.left + powers.right) / 2.0 + _EPSILON
        self._rumble(density, frequency, powers)
        self._treble(density, frequency)
        self._bass(density, frequency)
        self._steady(density, frequency, powers)

    def _rumble(
        self, density: Float64Array, frequency: Float64Array, powers: RecordingPowers
    ) -> None:
        def level_db(low: float, high: float) -> float:
            return power_to_db(float(density[(frequency >= low) & (frequency < high)].mean()))

        bass_db = max(level_db(*_BASS_HZ), level_db(*_LOW_MIDDLE_HZ))
        infrasonic_db = level_db(*INFRASONIC_HZ) - bass_db
        rumble_db = level_db(*_RUMBLE_HZ) - bass_db
        lowest = THIRD_OCTAVES_HZ < _RUMBLE_TOP_HZ
        spread_db = powers.spread_db()
        steady = spread_db[lowest].mean() < _STEADY_RUMBLE_DB
        if is_noise(density, frequency):
            return  # all of it, from far under the bass upwards: that is the music
        if infrasonic_db > _INFRASONIC_DB or (rumble_db > _RUMBLE_DB and steady):
            self._mend(high_pass_hz=_RUMBLE_TOP_HZ)
            self._bands &= ~lowest
            self._low_width = False  # none is left there
            self._say(
                "rumble",
                f"has rumble, {max(infrasonic_db, rumble_db):+.0f} dB against its bass",
                f"nothing of it under {_RUMBLE_TOP_HZ:g} Hz is followed",
            )

    def _treble(self, density: Float64Array, frequency: Float64Array) -> None:
        cutoff_hz = upper_limit_hz(density, frequency)
        rate = self._rate
        # Half of the top band is missing: what is left tells no level.
        lost = cutoff_hz < (LOWER_HZ + UPPER_HZ) / 2.0
        if not lost.any():
            return
        self._bands &= ~lost
        why = f", its sample rate being {rate} Hz" if cutoff_hz > 0.4 * rate else ""
        self._say(
            "band-limited",
            f"has nothing over {_kilohertz(cutoff_hz)}{why}",
            "over that the treble goes on from there",
        )

    def _bass(self, density: Float64Array, frequency: Float64Array) -> None:
        row = lower_limit(density, frequency)
        if row is None or not self._bands[:row].any():
            return
        self._bands[:row] = False
        self._say(
            "band-limited",
            f"has nothing under {_kilohertz(float(LOWER_HZ[row]))}",
            "under that the mix keeps its own bass",
        )

    def _steady(
        self, density: Float64Array, frequency: Float64Array, powers: RecordingPowers
    ) -> None:
        """Look for hum and hiss: what is there all the time, while the music comes and goes."""
        spread_db = powers.spread_db()
        inside = self._bands & (self._rate / 2.0 > UPPER_HZ)
        self._hum(inside & (spread_db < _STEADY_LINE_DB), density, frequency)
        if not inside.any() or np.median(spread_db[inside]) < 2.0 * _STEADY_DB:
            return  # all of it is steady: that is the music
        hiss = inside & (spread_db < _STEADY_DB) & (THIRD_OCTAVES_HZ >= 2000.0)
        if hiss.any() and not np.any(inside & ~hiss & (hiss.argmax() < np.arange(hiss.size))):
            self._bands &= ~hiss
            self._say(
                "noise",
                f"is noise over {_kilohertz(float(LOWER_HZ[hiss].min()))}",
                "over that the treble goes on from there",
            )

    def _hum(self, steady: Mask, density: Float64Array, frequency: Float64Array) -> None:
        for mains_hz in _HUM_HZ:
            lines = [hz for hz in mains_hz * np.arange(1, 5) if stands_out(density, frequency, hz)]
            filled = [
                any(low <= hz < high for hz in lines)
                for low, high in zip(LOWER_HZ, UPPER_HZ, strict=True)
            ]
            hum = steady & np.asarray(filled)
            if hum.any():
                self._bands &= ~hum
                self._say(
                    "hum",
                    f"has hum of {mains_hz:g} Hz",
                    "the bands that it fills are not followed",
                )
                return

    def _powers(self) -> RecordingPowers:
        return measure_powers(self.audio, self._rate)


def _in_range(low_hz: float, high_hz: float) -> Mask:
    """Return which third octaves lie in a range."""
    return np.asarray([low_hz <= centre < high_hz for centre in THIRD_OCTAVES_HZ])


def _kilohertz(hz: float) -> str:
    return f"{hz / 1000.0:.1f} kHz" if hz >= 1000.0 else f"{hz:.0f} Hz"
