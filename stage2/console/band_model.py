"""The console's fast model: what settings do to a mix, computed on band powers instead of audio.

A :class:`Digest` holds, once per session, the cross-spectra of every stem's mid, side and
decorrelated side in bands finer than third octaves, and each stem's envelope in coarse bands.
Gain, EQ, pan, width and spread act on the cross-spectra as exact multipliers; compressors act on
the envelopes at a control rate of about 5 ms. One evaluation with gradients takes some
milliseconds, whatever the length of the song. What the model approximates (peaks, fast
compression, the correlation of compressed stems) is corrected from real renders by
:mod:`stage2.refine.search`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.console.compressor import LOWEST_LEVEL_LUFS
from pipeline.console.parameters import BUS, BUS_EQ_BANDS, STRIP, STRIP_EQ_BANDS, WORKING_LUFS
from stage2.console.functional import compressor_reduction_db, eq_response
from stage2.console.statistics import Digest, k_power
from stage2.style.broad import broad_bands
from stage2.style.envelopes import BAND_EDGES_HZ, CONTROL_RATE_HZ, RANGES_HZ, punch_db
from stage2.style.measure import THIRD_OCTAVES_HZ, typical_spectrum

__all__ = ["BandModel", "ModelledMix"]

_COARSE = len(BAND_EDGES_HZ) - 1
_EPSILON = 1e-12
_PLAYS = 1e-3


@dataclass(frozen=True)
class ModelledMix:
    """What the model says of a mix, each a float64 tensor that carries gradients.

    ``features`` holds, in the order of :attr:`BandModel.feature_names`, the figures of a style;
    ``stem_lufs`` the loudness of each stem after its strip, ``(stems,)``; ``sum_lufs`` that of
    their sum before the bus, not gated; ``frames`` the power per style frame and fine band,
    ``(frames, bands)``, or None where it was not asked for; ``reductions_db`` what the compressor
    of each strip, and last the bus's, takes off on average while something plays,
    ``(stems + 1,)``; ``stem_bands_db`` each stem's level after its strip in broad bands, against
    its own power, ``(stems, broad bands)``, and ``stem_punch_db`` how far its loudest moments
    stand over a third of a second, ``(stems,)``.
    """

    features: torch.Tensor
    stem_lufs: torch.Tensor
    sum_lufs: torch.Tensor
    frames: torch.Tensor | None
    reductions_db: torch.Tensor
    stem_bands_db: torch.Tensor
    stem_punch_db: torch.Tensor


class BandModel:
    """The console over a digest: settings in, style features and stem levels out.

    Parameters
    ----------
    digest
        Of the stems.
    levels_lufs
        Loudness of each whole stem, which its thresholds are relative to; by default that of what
        was digested.

    Notes
    -----
    Settings are tensors in the units and the order of the plan's tables ``STRIP`` and ``BUS``.
    """

    def __init__(self, digest: Digest, levels_lufs: Sequence[float] | None = None) -> None:
        self.digest = digest
        levels = digest.loudness_lufs if levels_lufs is None else np.asarray(levels_lufs)
        self._level = torch.from_numpy(np.maximum(levels, LOWEST_LEVEL_LUFS))
        self._working = torch.tensor([WORKING_LUFS], dtype=torch.float64)
        bands = digest.bands
        self._frequency = torch.from_numpy(bands.centre_hz)
        self._cross = torch.from_numpy(digest.cross)
        self._own_cross = torch.stack(
            [self._cross[:, i : i + 3, i : i + 3] for i in range(0, 3 * digest.stems, 3)], dim=1
        )  # (bands, stems, 3, 3)
        # (coarse, stems, frames): sums over frames are then contiguous
        self._envelope = torch.from_numpy(digest.envelope.transpose(2, 0, 1).copy())
        self._coarse_total = self._envelope.sum(dim=2) + _EPSILON  # (coarse, stems)
        self._rests = self._coarse_total < 1e3 * _EPSILON * self._envelope.shape[2]
        owner = np.searchsorted(BAND_EDGES_HZ, bands.centre_hz, side="right") - 1
        self._coarse_of = torch.from_numpy(np.clip(owner, 0, _COARSE - 1))
        self._frames = torch.from_numpy(digest.frames)
        thirds = np.add.reduceat(
            digest.frames, np.searchsorted(bands.third_octave, range(len(THIRD_OCTAVES_HZ))), axis=2
        )
        self._third_frames = torch.from_numpy(thirds)  # (stems, frames, third octaves)
        power = digest.frames.mean(axis=1)  # (stems, bands)
        share = np.zeros((_COARSE, digest.stems, bands.centre_hz.size))
        for band, coarse in enumerate(self._coarse_of.tolist()):
            share[coarse, :, band] = power[:, band] + _EPSILON
        self._share = torch.from_numpy(share / share.sum(axis=2, keepdims=True).clip(_EPSILON))
        self._k_power = torch.from_numpy(k_power(bands.centre_hz, digest.sample_rate))
        third = np.zeros((len(THIRD_OCTAVES_HZ), bands.centre_hz.size))
        third[bands.third_octave, np.arange(bands.centre_hz.size)] = 1.0
        self._third = torch.from_numpy(third)
        self._ranges = torch.from_numpy(
            np.stack(
                [(bands.centre_hz >= lo) & (bands.centre_hz < hi) for lo, hi in RANGES_HZ]
            ).astype(np.float64)
        )
        self._offset = torch.from_numpy(digest.level_offset_lu)
        self._strip_index = STRIP.columns
        self._bus_index = BUS.columns
        edges = np.asarray(BAND_EDGES_HZ[:-1])
        self._coarse_ranges = torch.from_numpy(
            np.stack([(edges >= lo) & (edges < hi) for lo, hi in RANGES_HZ]).astype(np.float64)
        )

    feature_names: tuple[str, ...] = (
        *(f"spectrum_{hz:g}hz_db" for hz in THIRD_OCTAVES_HZ),
        "width_db",
        *(f"width_{index}_db" for index in range(len(RANGES_HZ))),
        "imbalance_db",
        *(f"punch_{index}_db" for index in range(len(RANGES_HZ))),
        *(f"typical_{hz:g}hz_db" for hz in THIRD_OCTAVES_HZ),
        "crest_db",
        "peak_to_loudness_db",
    )

    def _compress(
        self, power: torch.Tensor, settings: Mapping[str, torch.Tensor], level: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the power gain per control frame, ``(channels, frames)``, without make-up.

        Thresholds are relative to ``level``, ``(channels,)`` in LUFS.
        And what that takes off on average where the power is within 30 dB of its highest, in dB.
        """
        reduction = compressor_reduction_db(
            power,
            threshold_db=settings["threshold_lu"] + level,
            ratio=settings["ratio"],
            attack_ms=settings["attack_ms"],
            release_ms=settings["release_ms"],
            knee_db=settings["knee_db"],
            sample_rate=CONTROL_RATE_HZ,
        )
        # A control frame looks half its length ahead; a compressor does not.
        late = torch.cat((torch.zeros_like(reduction[:, :1]), reduction[:, :-1]), dim=1)
        plays = (power >= power.amax(dim=1, keepdim=True) * _PLAYS).double()
        mean = (reduction * plays).sum(dim=1) / plays.sum(dim=1).clamp_min(1.0)
        return torch.pow(10.0, -(reduction + late) / 20.0), mean

    def __call__(
        self, strips: torch.Tensor, bus: torch.Tensor, *, with_frames: bool = False
    ) -> ModelledMix:
        """Model the mix.

        Parameters
        ----------
        strips
            ``(stems, len(STRIP))``, float64.
        bus
            ``(len(BUS),)``, float64.
        with_frames
            Whether to return the power per style frame too.
        """
        count = self.digest.stems
        rate = self.digest.sample_rate
        strip = {name: strips[:, i] for name, i in self._strip_index.items()}
        master = {name: bus[i : i + 1] for name, i in self._bus_index.items()}

        response = eq_response(
            strip, STRIP_EQ_BANDS, sample_rate=rate, frequencies_hz=self._frequency
        )  # (stems, bands) complex
        fader = torch.pow(10.0, strip["gain_db"] / 10.0)
        eq_power = response.real.square() + response.imag.square()
        coarse_eq = torch.einsum("csb,sb->cs", self._share, eq_power)
        envelope = self._envelope * coarse_eq[:, :, None]  # (coarse, stems, frames)
        # (stems, frames), (stems,)
        reduced, taken = self._compress(envelope.sum(dim=0), strip, self._level)
        stem_punch_db = punch_db(envelope.sum(dim=0) * reduced)
        makeup = torch.pow(10.0, strip["makeup_db"] / 10.0)
        # a stem that rests in every passage is taken as not compressed
        kept = torch.where(
            self._rests,
            torch.ones_like(self._coarse_total),
            torch.einsum("csf,sf->cs", self._envelope, reduced) / self._coarse_total,
        )
        strip_power = fader * makeup * kept[self._coarse_of]  # (bands, stems)

        amplitude = torch.sqrt(strip_power + _EPSILON) * response.T  # (bands, stems) complex
        angle = (strip["pan"] + 1.0) * (math.pi / 4.0)
        left_gain = math.sqrt(2.0) * torch.cos(angle)
        right_gain = math.sqrt(2.0) * torch.sin(angle)
        sides = torch.stack((torch.ones_like(angle), strip["width"], strip["spread"]))
        flip = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)[:, None]
        # (bands, stems, 3) → (bands, 3 * stems)
        left = (amplitude[:, :, None] * (left_gain * sides).T[None]).reshape(-1, 3 * count)
        right = (amplitude[:, :, None] * (right_gain * sides * flip).T[None]).reshape(-1, 3 * count)
        from_left = torch.einsum("bij,bj->bi", self._cross, left.conj())
        from_right = torch.einsum("bij,bj->bi", self._cross, right.conj())
        power_left = torch.einsum("bi,bi->b", left, from_left).real
        power_right = torch.einsum("bi,bi->b", right, from_right).real
        power_cross = torch.einsum("bi,bi->b", left, from_right).real

        stem_left = self._own_power(left, count)
        stem_right = self._own_power(right, count)
        weighted = torch.einsum("b,bs->s", self._k_power, stem_left + stem_right)
        in_thirds = (self._third @ (stem_left + stem_right)).T + _EPSILON
        in_thirds = in_thirds / in_thirds.sum(dim=1, keepdim=True)
        stem_bands_db = broad_bands(10.0 * torch.log10(in_thirds))
        stem_lufs = 10.0 * torch.log10(weighted + _EPSILON) - 0.691 + self._offset
        sum_lufs = 10.0 * torch.log10(weighted.sum() + _EPSILON) - 0.691

        bus_response = eq_response(
            master, BUS_EQ_BANDS, sample_rate=rate, frequencies_hz=self._frequency
        )[0]
        bus_eq = bus_response.real.square() + bus_response.imag.square()  # (bands,)
        stem_power = (stem_left + stem_right) / 2.0 * bus_eq[:, None]  # (bands, stems)
        # what pan, width and bus EQ make of each stem's envelope, per coarse band
        # What a stem adds to the mix's power: more than its own where others share its signal.
        added = (left * from_left + right * from_right).real.reshape(-1, count, 3).sum(dim=2)
        added = (added / 2.0 * bus_eq[:, None]).clamp_min(0.0)  # (bands, stems)
        per_coarse = torch.zeros(_COARSE, count, dtype=torch.float64).index_add(
            0, self._coarse_of, added
        )
        unit = per_coarse / (self._coarse_total / self._envelope.shape[2]) / kept.clamp_min(1e-6)
        unit = torch.where(self._rests, torch.zeros_like(unit), unit)
        mixed = torch.einsum("csf,cs,sf->cf", self._envelope, unit, reduced)  # (coarse, frames)
        whole = mixed.sum(dim=0)
        bus_gain, bus_taken = self._compress(whole[None], master, self._working)
        bus_reduced = bus_gain[0]
        bus_kept = (mixed * bus_reduced).sum(dim=1) / (mixed.sum(dim=1) + _EPSILON)
        bus_power = bus_eq * bus_kept[self._coarse_of]

        features = self._features(
            power_left * bus_power,
            power_right * bus_power,
            power_cross * bus_power,
            master["width"][0],
            mixed * bus_reduced,
            self._typical(added * bus_kept[self._coarse_of][:, None]),
        )
        frames = None
        if with_frames:
            own = self._frames.mean(dim=1).T + _EPSILON  # (bands, stems)
            frames = torch.einsum("sfb,bs->fb", self._frames, stem_power / own)
        reductions = torch.cat((taken, bus_taken))
        return ModelledMix(
            features, stem_lufs, sum_lufs, frames, reductions, stem_bands_db, stem_punch_db
        )

    def _own_power(self, weights: torch.Tensor, count: int) -> torch.Tensor:
        """Return each stem's own power per band, ``(bands, stems)``."""
        shaped = weights.reshape(-1, count, 3)
        return torch.einsum("bsi,bsij,bsj->bs", shaped, self._own_cross, shaped.conj()).real

    def _typical(self, power: torch.Tensor) -> torch.Tensor:
        """Return the typical spectrum, from the power of each stem per band, ``(bands, stems)``."""
        gain = (self._third @ power) / (self._third_frames.mean(dim=1).T + _EPSILON)
        return typical_spectrum(torch.einsum("sfb,bs->fb", self._third_frames, gain))

    def _features(
        self,
        left: torch.Tensor,
        right: torch.Tensor,
        cross: torch.Tensor,
        width: torch.Tensor,
        envelope: torch.Tensor,
        typical: torch.Tensor,
    ) -> torch.Tensor:
        middle = (left + right + 2.0 * cross).clamp_min(0.0) / 4.0
        side = (left + right - 2.0 * cross).clamp_min(0.0) / 4.0 * width.square()
        # left − right = 4 Re(M S*) survives the width as an amplitude
        tilt = (left - right) * width
        total = 2.0 * (middle + side)
        spectrum = 10.0 * torch.log10(self._third @ total / 2.0 + _EPSILON)
        everything = torch.cat((torch.ones(1, middle.shape[0], dtype=torch.float64), self._ranges))
        widths = 10.0 * torch.log10(
            (everything @ side + _EPSILON) / (everything @ middle + _EPSILON)
        )
        difference = tilt.sum() / (total.sum() + _EPSILON)
        imbalance = 10.0 * torch.log10((1.0 - difference) / (1.0 + difference))
        by_range = self._coarse_ranges @ envelope
        whole = envelope.sum(dim=0, keepdim=True)
        punch = punch_db(torch.cat((by_range, whole)))
        peak = 10.0 * torch.log10((whole.max() + _EPSILON) / (whole.mean() + _EPSILON))
        return torch.cat(
            (
                spectrum - 10.0 * torch.log10(total.sum() / 2.0 + _EPSILON),
                widths,
                imbalance[None],
                punch[:-1],
                typical,
                punch[-1:],
                peak[None],
            )
        )
