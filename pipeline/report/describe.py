"""What a plan does, in sentences that a musician reads: stem by stem, then the bus."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pipeline.console.parameters import BUS_EQ_BANDS, STRIP_EQ_BANDS, EqBand
from pipeline.console.response import band_values, high_pass
from pipeline.plan import Plan, StemPlan, TrackPlan
from pipeline.prose import spoken, spoken_hz

__all__ = ["bus_phrase", "describe", "stem_phrase"]

AUDIBLE_GAIN_DB = 0.5  # a smaller change of a band or a level is not worth a word


def describe(plan: Plan) -> tuple[str, ...]:
    """Return what was done to each stem and to the bus, one sentence each.

    Examples
    --------
    >>> from pipeline.plan import StemPlan
    >>> stem = StemPlan(name="lead_vocals", settings={"gain_db": 2.1, "ratio": 2.0})
    >>> plan = Plan(session=".", sample_rate=48000, frames=1, tracks=(), stems=(stem,))
    >>> describe(plan)[0]
    'Lead vocals: 2.1 dB louder; compressed 2:1 from its level.'
    """
    stems = (f"{spoken(stem.name)}: {stem_phrase(stem, plan.tracks)}." for stem in plan.stems)
    return (*stems, f"Whole mix: {bus_phrase(plan)}.")


def stem_phrase(stem: StemPlan, tracks: Sequence[TrackPlan] = ()) -> str:
    """Return what one strip does to the balanced stem, without the stem's name.

    Where it does nothing, what the balance did is said: the fader, and how its ``tracks``, those of
    the plan, stand in it.
    """
    if stem.mute:
        return "muted"
    settings = stem.settings
    parts = [
        *_gain(settings["gain_db"] - stem.balance_gain_db, "louder", "quieter"),
        *_high_pass(settings),
        *_equaliser(settings, STRIP_EQ_BANDS),
        *_deesser(settings),
        *_compressor(settings, "its level"),
        *_width(settings),
    ]
    if settings["spread"] >= 0.01:
        parts.append(f"spread by {settings['spread']:.0%}")
    if abs(settings["pan"]) >= 0.01:
        side = "left" if settings["pan"] < 0.0 else "right"
        parts.append(f"panned {abs(settings['pan']):.0%} {side}")
    return "; ".join(parts) if parts else _balance(stem, tracks)


def _balance(stem: StemPlan, tracks: Sequence[TrackPlan]) -> str:
    parts = [f"balanced, fader {_signed(round(stem.settings['gain_db'], 1), '+.1f')} dB"]
    mine = [track for track in tracks if track.subgroup == stem.name and not track.mute]
    if mine:
        low, high = (f(track.gain_db for track in mine) for f in (min, max))
        gains = _signed(low, "+.1f") + (f" to {_signed(high, '+.1f')}" if high - low > 0.05 else "")
        left, right = (f(track.pan for track in mine) for f in (min, max))
        place = f"from {_place(left)} to {_place(right)}"
        if right - left < 0.005:
            place = _place(left) if abs(left) >= 0.005 else "in the centre"
        count = "one track" if len(mine) == 1 else f"{len(mine)} tracks"
        parts.append(f"{count} at {gains} dB, {place}")
    return "; ".join(parts)


def _place(pan: float) -> str:
    if abs(pan) < 0.005:
        return "the centre"
    return f"{abs(pan):.0%} {'left' if pan < 0.0 else 'right'}"


def bus_phrase(plan: Plan) -> str:
    """Return what the bus and the delivery do to the sum of the stems."""
    bus = plan.bus
    delivery = plan.delivery
    parts = [*_equaliser(bus, BUS_EQ_BANDS), *_compressor(bus, "the mix's level"), *_width(bus)]
    if abs(bus["gain_db"]) >= 0.05:
        verb = "raised" if bus["gain_db"] > 0.0 else "lowered"
        parts.append(f"{verb} {abs(bus['gain_db']):.1f} dB into the limiter")
    parts.append(f"true peaks limited to {_signed(delivery.limiter_ceiling_dbtp)} dBTP")
    if delivery.trim_db <= -0.05:
        parts.append(f"then {-delivery.trim_db:.1f} dB quieter for delivery")
    return "; ".join(parts)


def _signed(value: float, form: str = ".4g") -> str:
    return f"{value:{form}}".replace("-", "−")


def _gain(gain_db: float, more: str, less: str) -> list[str]:
    if abs(gain_db) < 0.05:
        return []
    return [f"{abs(gain_db):.1f} dB {more if gain_db > 0.0 else less}"]


def _equaliser(settings: Mapping[str, float], bands: Sequence[EqBand]) -> list[str]:
    where = {"low_shelf": "below", "peak": "around", "high_shelf": "above"}
    parts = []
    for band in bands:
        gain_db, frequency_hz, _ = band_values(band, settings)
        if abs(gain_db) >= AUDIBLE_GAIN_DB:
            amount = f"{abs(gain_db):.1f} dB {'more' if gain_db > 0.0 else 'less'}"
            parts.append(f"{amount} {where[band.shape]} {spoken_hz(frequency_hz)}")
    return parts


def _high_pass(settings: Mapping[str, float]) -> list[str]:
    frequency_hz = high_pass(settings)
    return [] if frequency_hz is None else [f"high-pass at {spoken_hz(frequency_hz)}"]


def _deesser(settings: Mapping[str, float]) -> list[str]:
    if settings["deess_db"] < AUDIBLE_GAIN_DB:
        return []
    return [
        f"de-essed by up to {settings['deess_db']:.1f} dB above {spoken_hz(settings['deess_hz'])}"
    ]


def _compressor(settings: Mapping[str, float], level: str) -> list[str]:
    parts = []
    if settings["ratio"] >= 1.05:
        ratio = f"{settings['ratio']:.1f}".removesuffix(".0")
        threshold = round(settings["threshold_lu"])
        where = f"{abs(threshold)} dB {'over' if threshold > 0 else 'under'} " if threshold else ""
        parts.append(f"compressed {ratio}:1 from {where}{level}")
    if abs(settings["makeup_db"]) >= 0.05:
        parts.append(f"{_signed(settings['makeup_db'], '+.1f')} dB make-up gain")
    return parts


def _width(settings: Mapping[str, float]) -> list[str]:
    width = settings["width"]
    if abs(width - 1.0) < 0.02:
        return []
    if width < 0.01:
        return ["folded to mono"]
    change_db = 20.0 * math.log10(width)
    return [f"sides {abs(change_db):.1f} dB {'wider' if width > 1.0 else 'narrower'}"]
