"""The console's fast model: what settings do to a mix, computed on band powers instead of audio.

A :class:`Digest` holds, once per session, the cross-spectra of every stem's mid, side and
decorrelated side in bands finer than third octaves, and each stem's envelope in coarse bands.
Gain, EQ, pan, width and spread act on the cross-spectra as exact multipliers; compressors act on
the envelopes at a control rate of about 5 ms. One evaluation with gradients takes some
milliseconds, whatever the length of the song. What the model approximates (peaks, fast
compression, the correlation of compressed stems) is corrected from real renders by
:mod:`stage2.refine`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal
import torch
from threadpoolctl import threadpool_limits

from pipeline.loudness import integrated_loudness, k_weighting
from pipeline.plan import BUS, BUS_EQ_BANDS, STRIP, STRIP_EQ_BANDS
from pipeline.response import decorrelator_response
from pipeline.units import FloatArray
from stage2.envelopes import (
    BAND_EDGES_HZ,
    CONTROL_RATE_HZ,
    RANGES_HZ,
    analysis_window,
    band_envelope,
    punch_db,
)
from stage2.functional import compressor_reduction_db, eq_response
from stage2.style import THIRD_OCTAVES_HZ, FineBands, fft_size

__all__ = ["BandModel", "Digest", "ModelledMix", "digest_stems", "frame_powers"]

_COARSE = len(BAND_EDGES_HZ) - 1
_EPSILON = 1e-12
_PLAYS = 1e-3

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Digest:
    """What the band model knows of the stems of one session.

    Parameters
    ----------
    cross
        Cross-spectra of the signals (mid, side, decorrelated side of each stem in turn), mean
        power per fine band, complex, ``(bands, 3 * stems, 3 * stems)``.
    envelope
        Mean power per control frame and coarse band, ``(stems, frames, coarse)``.
    frames
        Power per style frame and fine band, ``(stems, frames, bands)``: for references that are
        mixes of the same song.
    level_offset_lu
        Integrated loudness less the K-weighted mean level, ``(stems,)``: what gating adds.
    """

    sample_rate: int
    bands: FineBands
    cross: npt.NDArray[np.complex128]
    envelope: Float64
    frames: Float64
    level_offset_lu: Float64
    frame_s: float

    @property
    def stems(self) -> int:
        """How many stems there are."""
        return int(self.envelope.shape[0])


def frame_powers(audio: FloatArray, *, sample_rate: int, bands: FineBands) -> Float64:
    """Return the power ``(left² + right²) / 2`` per style frame and fine band.

    Parameters
    ----------
    audio
        ``(2, frames)``.

    Returns
    -------
    Float64
        ``(style frames, bands)``.
    """
    size = fft_size(sample_rate)
    spectra = _spectra(audio, size, size // 2)
    _, scale = analysis_window(size)
    power = np.square(np.abs(spectra)).sum(axis=0, dtype=np.float64) / 2.0  # (frames, bins)
    return power @ bands.weights.T / scale


def _spectra(audio: FloatArray, size: int, hop: int) -> npt.NDArray[np.complex64]:
    """Return windowed spectra, ``(channels, frames, bins)``."""
    if audio.shape[1] < size:
        audio = np.pad(audio, ((0, 0), (0, size - audio.shape[1])))
    framed = np.lib.stride_tricks.sliding_window_view(audio, size, axis=1)[:, ::hop]
    return np.asarray(scipy.fft.rfft(framed * analysis_window(size)[0], axis=-1, workers=2))


def _k_power(frequencies_hz: Float64, sample_rate: int) -> Float64:
    """Return the K-weighting's power gain at frequencies."""
    _, response = scipy.signal.freqz_sos(
        k_weighting(sample_rate), worN=frequencies_hz, fs=sample_rate
    )
    return np.square(np.abs(response))


@threadpool_limits.wrap(limits=1, user_api="blas")  # sums must not follow from the machine
def digest_stems(stems: Sequence[FloatArray], *, sample_rate: int) -> Digest:
    """Return the digest of stems that play together.

    Parameters
    ----------
    stems
        Each ``(2, frames)``, all of one length.
    sample_rate
        In Hz.
    """
    bands = FineBands.at(sample_rate)
    size = fft_size(sample_rate)
    hop = size // 2
    bins = size // 2 + 1
    frequency = np.arange(bins) * sample_rate / size
    spread = decorrelator_response(sample_rate=sample_rate, frequencies_hz=frequency)
    count = len(stems)
    length = max(stems[0].shape[1], size)
    starts = list(range(0, length - size + 1, hop))
    # only the bins of a band, weighted by how much of them falls into it
    spans = [np.flatnonzero(row) for row in bands.weights]
    roots = [
        np.sqrt(row[span]).astype(np.float32)
        for row, span in zip(bands.weights, spans, strict=True)
    ]
    cross = np.zeros((bands.centre_hz.size, 3 * count, 3 * count), dtype=np.complex128)
    frames = np.zeros((count, len(starts), bands.centre_hz.size))
    _, scale = analysis_window(size)
    for first in range(0, len(starts), 32):
        block = starts[first : first + 32]
        signals = np.empty((3 * count, len(block), bins), dtype=np.complex64)
        for index, stem in enumerate(stems):
            left, right = _spectra(stem[:, block[0] : block[-1] + size], size, hop)
            signals[3 * index] = (left + right) / 2.0
            signals[3 * index + 1] = (left - right) / 2.0
            signals[3 * index + 2] = signals[3 * index] * spread
            power = (np.square(np.abs(left)) + np.square(np.abs(right))) / 2.0
            frames[index, first : first + len(block)] = power @ bands.weights.T / scale
        for band, (span, root) in enumerate(zip(spans, roots, strict=True)):
            if span.size:
                part = signals[:, :, span[0] : span[-1] + 1] * root
                part = part.reshape(3 * count, -1)  # (signals, frames * bins)
                cross[band] += part @ part.conj().T
    cross /= scale * len(starts)
    k_power = _k_power(bands.centre_hz, sample_rate)
    offsets = np.zeros(count)
    for index, stem in enumerate(stems):
        mean = 2.0 * float(np.sum(frames[index].mean(axis=0) * k_power))
        loudness = integrated_loudness(stem, sample_rate=sample_rate)
        if math.isfinite(loudness) and mean > 0.0:
            offsets[index] = loudness - (10.0 * math.log10(mean) - 0.691)
    return Digest(
        sample_rate=sample_rate,
        bands=bands,
        cross=cross,
        envelope=np.stack([band_envelope(stem, sample_rate=sample_rate) for stem in stems]),
        frames=frames,
        level_offset_lu=offsets,
        frame_s=hop / sample_rate,
    )


@dataclass(frozen=True)
class ModelledMix:
    """What the model says of a mix, each a float64 tensor that carries gradients.

    ``features`` holds, in the order of :attr:`BandModel.feature_names`, the figures of a style;
    ``stem_lufs`` the loudness of each stem after its strip, ``(stems,)``; ``sum_lufs`` that of
    their sum before the bus, not gated; ``frames`` the power per style frame and fine band,
    ``(frames, bands)``, or None where it was not asked for; ``reductions_db`` what the compressor
    of each strip, and last the bus's, takes off on average while something plays,
    ``(stems + 1,)``.
    """

    features: torch.Tensor
    stem_lufs: torch.Tensor
    sum_lufs: torch.Tensor
    frames: torch.Tensor | None
    reductions_db: torch.Tensor


class BandModel:
    """The console over a digest: settings in, style features and stem levels out.

    Parameters
    ----------
    digest
        Of the stems.

    Notes
    -----
    Settings are tensors in the units and the order of the plan's tables ``STRIP`` and ``BUS``.
    """

    def __init__(self, digest: Digest) -> None:
        self.digest = digest
        bands = digest.bands
        self._frequency = torch.from_numpy(bands.centre_hz)
        self._cross = torch.from_numpy(digest.cross)
        # (coarse, stems, frames): sums over frames are then contiguous
        self._envelope = torch.from_numpy(digest.envelope.transpose(2, 0, 1).copy())
        self._coarse_total = self._envelope.sum(dim=2) + _EPSILON  # (coarse, stems)
        self._rests = self._coarse_total < 1e3 * _EPSILON * self._envelope.shape[2]
        owner = np.searchsorted(BAND_EDGES_HZ, bands.centre_hz, side="right") - 1
        self._coarse_of = torch.from_numpy(np.clip(owner, 0, _COARSE - 1))
        self._frames = torch.from_numpy(digest.frames)
        power = digest.frames.mean(axis=1)  # (stems, bands)
        share = np.zeros((_COARSE, digest.stems, bands.centre_hz.size))
        for band, coarse in enumerate(self._coarse_of.tolist()):
            share[coarse, :, band] = power[:, band] + _EPSILON
        self._share = torch.from_numpy(share / share.sum(axis=2, keepdims=True).clip(_EPSILON))
        self._k_power = torch.from_numpy(_k_power(bands.centre_hz, digest.sample_rate))
        third = np.zeros((len(THIRD_OCTAVES_HZ), bands.centre_hz.size))
        third[bands.third_octave, np.arange(bands.centre_hz.size)] = 1.0
        self._third = torch.from_numpy(third)
        self._ranges = torch.from_numpy(
            np.stack(
                [(bands.centre_hz >= lo) & (bands.centre_hz < hi) for lo, hi in RANGES_HZ]
            ).astype(np.float64)
        )
        self._offset = torch.from_numpy(digest.level_offset_lu)
        self._strip_index = {p.name: i for i, p in enumerate(STRIP)}
        self._bus_index = {p.name: i for i, p in enumerate(BUS)}
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
        "crest_db",
    )

    def _compress(
        self, power: torch.Tensor, settings: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the power gain per control frame, ``(channels, frames)``, without make-up.

        And what that takes off on average where the power is within 30 dB of its highest, in dB.
        """
        reduction = compressor_reduction_db(
            power,
            threshold_db=settings["threshold_db"],
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
        coarse_gain = fader * coarse_eq  # (coarse, stems)
        envelope = self._envelope * coarse_gain[:, :, None]  # (coarse, stems, frames)
        reduced, taken = self._compress(envelope.sum(dim=0), strip)  # (stems, frames), (stems,)
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
        stem_lufs = 10.0 * torch.log10(weighted + _EPSILON) - 0.691 + self._offset
        sum_lufs = 10.0 * torch.log10(weighted.sum() + _EPSILON) - 0.691

        bus_response = eq_response(
            master, BUS_EQ_BANDS, sample_rate=rate, frequencies_hz=self._frequency
        )[0]
        bus_eq = bus_response.real.square() + bus_response.imag.square()  # (bands,)
        stem_power = (stem_left + stem_right) / 2.0 * bus_eq[:, None]  # (bands, stems)
        # what pan, width and bus EQ make of each stem's envelope, per coarse band
        per_coarse = torch.zeros(_COARSE, count, dtype=torch.float64).index_add(
            0, self._coarse_of, stem_power
        )
        unit = per_coarse / (self._coarse_total / self._envelope.shape[2]) / kept.clamp_min(1e-6)
        unit = torch.where(self._rests, torch.zeros_like(unit), unit)
        mixed = torch.einsum("csf,cs,sf->cf", self._envelope, unit, reduced)  # (coarse, frames)
        whole = mixed.sum(dim=0)
        bus_gain, bus_taken = self._compress(whole[None], master)
        bus_reduced = bus_gain[0]
        bus_kept = (mixed * bus_reduced).sum(dim=1) / (mixed.sum(dim=1) + _EPSILON)
        bus_power = bus_eq * bus_kept[self._coarse_of]

        features = self._features(
            power_left * bus_power,
            power_right * bus_power,
            power_cross * bus_power,
            master["width"][0],
            mixed * bus_reduced,
        )
        frames = None
        if with_frames:
            own = self._frames.mean(dim=1).T + _EPSILON  # (bands, stems)
            frames = torch.einsum("sfb,bs->fb", self._frames, stem_power / own)
        return ModelledMix(features, stem_lufs, sum_lufs, frames, torch.cat((taken, bus_taken)))

    def _own_power(self, weights: torch.Tensor, count: int) -> torch.Tensor:
        """Return each stem's own power per band, ``(bands, stems)``."""
        shaped = weights.reshape(-1, count, 3)
        blocks = torch.stack(
            [self._cross[:, 3 * i : 3 * i + 3, 3 * i : 3 * i + 3] for i in range(count)], dim=1
        )  # (bands, stems, 3, 3)
        return torch.einsum("bsi,bsij,bsj->bs", shaped, blocks, shaped.conj()).real

    def _features(
        self,
        left: torch.Tensor,
        right: torch.Tensor,
        cross: torch.Tensor,
        width: torch.Tensor,
        envelope: torch.Tensor,
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
        punch = punch_db(torch.cat((by_range, envelope.sum(dim=0, keepdim=True))))
        return torch.cat(
            (
                spectrum - 10.0 * torch.log10(total.sum() / 2.0 + _EPSILON),
                widths,
                imbalance[None],
                punch,
            )
        )
