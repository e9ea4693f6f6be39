"""Trials: an excerpt rendered for real through the console, delivered, and judged.

Of a long excerpt, passages spread over it are rendered: what the band model is off, they tell as
well as all of it. Strips are rendered on two threads and summed in their order, so the figures
never follow from the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pipeline.console.delivery import (
    Density,
    fit_delivery,
    is_as_loud,
    median_crest_db,
    peak_to_loudness_db,
    usual_limiting_db,
)
from pipeline.console.parameters import BUS, STRIP, Aspect, default_settings
from pipeline.console.processors import Bus, GainReduction, Strip
from pipeline.loudness.meter import integrated_loudness
from pipeline.units import FloatArray
from stage2.console.search_space import Start, StemInput
from stage2.style.measure import Style, measure_style

__all__ = ["Trial", "Trials", "passages"]

# The passages that the band model knows the dynamics of, too.
_PASSAGES, _PASSAGE_S = 6, 4.0
_FADE_S = 0.005
_THREADS = 2


@dataclass(frozen=True)
class Trial:
    """What settings make of the passages.

    Parameters
    ----------
    style
        Of the delivered mix.
    crest_db, peak_to_loudness_db
        Of the mix before the limiter: what the compressors leave.
    stem_lufs
        Loudness of each stem after its strip; ``-inf`` where it rests.
    sum_lufs
        Of their sum before the bus.
    reductions
        What each strip's compressor took off, and last the bus's.
    """

    style: Style
    crest_db: float
    peak_to_loudness_db: float
    stem_lufs: tuple[float, ...]
    sum_lufs: float
    reductions: tuple[GainReduction, ...]


def passages(audio: FloatArray, sample_rate: int) -> FloatArray:
    """Return passages of an excerpt ``(2, frames)``: six of 4 s, or all of up to 24 s."""
    length = round(_PASSAGE_S * sample_rate)
    if audio.shape[1] <= _PASSAGES * length:
        return audio
    fade = round(_FADE_S * sample_rate)
    ramp = np.linspace(0.0, 1.0, fade, endpoint=False, dtype=np.float32)
    shape = np.concatenate((ramp, np.ones(length - 2 * fade, dtype=np.float32), ramp[::-1]))
    starts = np.linspace(0, audio.shape[1] - length, _PASSAGES).astype(int)
    return np.concatenate([audio[:, s : s + length] * shape for s in starts], axis=1)


class Trials:
    """Renders stems at any settings and judges what would be delivered.

    Parameters
    ----------
    stems
        Balanced stems of the passages.
    reference
        The wanted style; its density is what the delivery goes for, where dynamics are matched and
        the delivery is as loud.
    sample_rate
        In Hz.
    target_lufs, ceiling_dbtp
        The delivery.
    match
        Aspects of the style to follow.
    """

    def __init__(
        self,
        stems: Sequence[StemInput],
        reference: Style,
        *,
        sample_rate: int,
        target_lufs: float,
        ceiling_dbtp: float,
        match: frozenset[Aspect],
    ) -> None:
        self._stems = stems
        self._rate = sample_rate
        self._target, self._ceiling = target_lufs, ceiling_dbtp
        self._density = None
        if Aspect.DYNAMICS in match and is_as_loud(target_lufs, reference.loudness_lufs):
            self._density = Density(reference.crest_db, reference.peak_to_loudness_db)

    def neutral_settings(self) -> Start:
        """Return the intended balance, with nothing else done to it."""
        return Start(
            tuple(default_settings(STRIP) | {"gain_db": stem.gain_db} for stem in self._stems),
            default_settings(BUS),
        )

    def neutral(self) -> Trial:
        """Try the intended balance."""
        settings = self.neutral_settings()
        return self.run(settings.strips, settings.bus)

    def run(self, strips: Sequence[Mapping[str, float]], bus: Mapping[str, float]) -> Trial:
        """Try settings: one mapping a strip, in the order of the stems, and the bus's."""
        with ThreadPoolExecutor(_THREADS) as pool:
            outs = list(pool.map(self._strip, self._stems, strips))
        total = np.zeros(self._stems[0].audio.shape, dtype=np.float64)
        for audio, _, _ in outs:
            total += audio
        chain = Bus(bus, sample_rate=self._rate)
        mix = np.asarray(chain.process(total))
        delivered = fit_delivery(
            mix,
            sample_rate=self._rate,
            target_lufs=self._target,
            ceiling_dbtp=self._ceiling,
            density=self._density,
            most_limiting_db=usual_limiting_db(self._target),
        )
        return Trial(
            style=measure_style(delivered.audio, sample_rate=self._rate),
            crest_db=median_crest_db(mix, sample_rate=self._rate),
            peak_to_loudness_db=peak_to_loudness_db(
                mix, integrated_loudness(mix, sample_rate=self._rate)
            ),
            stem_lufs=tuple(lufs for _, lufs, _ in outs),
            sum_lufs=integrated_loudness(total, sample_rate=self._rate),
            reductions=(
                *(reduction for _, _, reduction in outs),
                chain.compressor.gain_reduction,
            ),
        )

    def _strip(
        self, stem: StemInput, settings: Mapping[str, float]
    ) -> tuple[FloatArray, float, GainReduction]:
        strip = Strip(settings, level_lufs=stem.level_lufs, sample_rate=self._rate)
        out = strip.process(stem.audio)
        lufs = integrated_loudness(out, sample_rate=self._rate)
        return out, lufs, strip.compressor.gain_reduction
