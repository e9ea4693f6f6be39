"""The console's processors as differentiable functions of their settings, in torch.

Each function is the equivalent of one in :mod:`pipeline.console.processors`, over audio of shape
``(..., 2, frames)`` with settings of shape ``(...)``. The linear ones multiply the spectrum by the
exact response of the same biquads, padded for their ring-out; the compressor runs sample by sample
in a compiled loop whose adjoint is written out by hand, so attack and release have gradients of
their own. Responses and recursions are float64: float32 cancels at low frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.console.compressor import DETECTOR_MS, POWER_FLOOR, smoothing_coefficient
from pipeline.console.parameters import HIGH_PASS_OFF_HZ, EqBand
from pipeline.console.response import HIGHEST_BAND, decorrelator_response
from pipeline.jit import kernel

__all__ = [
    "apply_response",
    "compress",
    "compressor_reduction_db",
    "eq_response",
    "eq_sections",
    "equalise",
    "pan",
    "stereo_image",
]

Array = npt.NDArray[np.float64]

EQ_TAIL_S = 1.5
"""Zeros after the signal: the slowest band (30 Hz, Q 6, +15 dB) has rung out by 140 dB."""

DECORRELATOR_TAIL_S = 0.25

_NEPER = math.log(10.0) / 20.0


def _db_to_amplitude(level_db: Tensor) -> Tensor:
    return torch.exp(level_db * _NEPER)


def eq_sections(
    settings: Mapping[str, Tensor], bands: Sequence[EqBand], *, sample_rate: int
) -> Tensor:
    """Return an equaliser's biquads, shape (..., bands, 6), rows ``(b0, b1, b2, 1, a1, a2)``.

    The differentiable equal of :func:`pipeline.console.response.eq_sections`, with every band kept.
    """
    gains = [settings[band.gain_name].to(torch.float64) for band in bands]
    gain_db = torch.stack(gains, dim=-1)  # (..., bands)
    frequency, q = (
        torch.stack(
            [
                settings[v].to(torch.float64) if isinstance(v, str) else torch.full_like(like, v)
                for v, like in zip(values, gains, strict=True)
            ],
            dim=-1,
        )
        for values in ([band.frequency_hz for band in bands], [band.q for band in bands])
    )
    w = 2.0 * math.pi * torch.clamp(frequency / sample_rate, max=HIGHEST_BAND)
    cos_w = torch.cos(w)
    alpha = torch.sin(w) / (2.0 * q)
    A = torch.exp(gain_db * (_NEPER / 2.0))
    # one evaluation for all peaks and one for all shelves
    kinds = [0.0 if b.shape == "peak" else 1.0 if b.shape == "low_shelf" else -1.0 for b in bands]
    peaks = [i for i, kind in enumerate(kinds) if kind == 0.0]
    shelves = [i for i, kind in enumerate(kinds) if kind != 0.0]
    sections = []
    if peaks:
        sections.append(_peaks(cos_w[..., peaks], alpha[..., peaks], A[..., peaks]))
    if shelves:
        sign = torch.tensor([kinds[i] for i in shelves], dtype=torch.float64)
        sections.append(_shelves(cos_w[..., shelves], alpha[..., shelves], A[..., shelves], sign))
    order = np.argsort(peaks + shelves).tolist()
    return torch.cat(sections, dim=-2)[..., order, :]  # (..., bands, 6)


def _high_pass(frequency_hz: Tensor, sample_rate: int) -> Tensor:
    """Return Butterworth high-passes ``(..., 6)``; those that are switched off pass all."""
    w = 2.0 * math.pi * torch.clamp(frequency_hz / sample_rate, max=HIGHEST_BAND)
    cos_w, alpha = torch.cos(w), torch.sin(w) / math.sqrt(2.0)
    b = (1.0 + cos_w) / 2.0
    one = torch.ones_like(b)
    rows = [b, -2.0 * b, b, 1.0 + alpha, -2.0 * cos_w, 1.0 - alpha]
    section = torch.stack(rows, dim=-1) / rows[3][..., None]
    none = torch.stack([one, 0.0 * one, 0.0 * one, one, 0.0 * one, 0.0 * one], dim=-1)
    return torch.where((frequency_hz > HIGH_PASS_OFF_HZ)[..., None], section, none)


def _peaks(cos_w: Tensor, alpha: Tensor, A: Tensor) -> Tensor:
    b1 = -2.0 * cos_w
    rows = [1.0 + alpha * A, b1, 1.0 - alpha * A, 1.0 + alpha / A, b1, 1.0 - alpha / A]
    return torch.stack(rows, dim=-1) / rows[3][..., None]


def _shelves(cos_w: Tensor, alpha: Tensor, A: Tensor, sign: Tensor) -> Tensor:
    """Return low shelves where ``sign`` is 1, high shelves where it is -1."""
    c = sign * cos_w
    root = 2.0 * torch.sqrt(A) * alpha
    a0 = (A + 1.0) + (A - 1.0) * c + root
    rows = [
        A * ((A + 1.0) - (A - 1.0) * c + root),
        sign * 2.0 * A * ((A - 1.0) - (A + 1.0) * c),
        A * ((A + 1.0) - (A - 1.0) * c - root),
        a0,
        sign * -2.0 * ((A - 1.0) + (A + 1.0) * c),
        (A + 1.0) + (A - 1.0) * c - root,
    ]
    return torch.stack(rows, dim=-1) / a0[..., None]


@kernel
def _cascade(
    sections: npt.NDArray[np.float64],
    z: npt.NDArray[np.complex128],
    response: npt.NDArray[np.complex128],
) -> None:
    for row in range(sections.shape[0]):
        for i in range(z.size):
            z1 = z[i]
            z2 = z1 * z1
            numerator = 1.0 + 0.0j
            denominator = 1.0 + 0.0j
            for k in range(sections.shape[1]):
                s = sections[row, k]
                numerator *= s[0] + s[1] * z1 + s[2] * z2
                denominator *= s[3] + s[4] * z1 + s[5] * z2
            response[row, i] = numerator / denominator


@kernel
def _cascade_adjoint(
    sections: npt.NDArray[np.float64],
    z: npt.NDArray[np.complex128],
    response: npt.NDArray[np.complex128],
    grad: npt.NDArray[np.complex128],
    out: npt.NDArray[np.float64],
) -> None:
    """From H = Π N_k / D_k: dH/db_i = H z^-i / N_k and dH/da_i = -H z^-i / D_k."""
    for row in range(sections.shape[0]):
        for i in range(z.size):
            z1 = z[i]
            z2 = z1 * z1
            u = np.conj(grad[row, i]) * response[row, i]
            for k in range(sections.shape[1]):
                s = sections[row, k]
                n = u / (s[0] + s[1] * z1 + s[2] * z2)
                d = u / (s[3] + s[4] * z1 + s[5] * z2)
                o = out[row, k]
                o[0] += n.real
                o[1] += (n * z1).real
                o[2] += (n * z2).real
                o[3] -= d.real
                o[4] -= (d * z1).real
                o[5] -= (d * z2).real


def _numpy(x: Tensor) -> npt.NDArray[Any]:
    # resolve_conj: a gradient that comes out of an FFT is often a lazily conjugated view.
    return np.ascontiguousarray(x.detach().resolve_conj().resolve_neg().numpy())


class _CascadeResponse(torch.autograd.Function):
    """Biquads (rows, bands, 6) to their response (rows, bins); nothing kept per band."""

    @staticmethod
    def forward(ctx: Any, sections: Tensor, z: Tensor) -> Tensor:
        response = np.empty((len(sections), len(z)), dtype=np.complex128)
        _cascade(_numpy(sections), _numpy(z), response)
        out = torch.from_numpy(response)
        ctx.save_for_backward(sections, z, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        sections, z, response = ctx.saved_tensors
        out = np.zeros(tuple(sections.shape))
        _cascade_adjoint(_numpy(sections), _numpy(z), _numpy(response), _numpy(grad), out)
        return torch.from_numpy(out), None


def eq_response(
    settings: Mapping[str, Tensor],
    bands: Sequence[EqBand],
    *,
    sample_rate: int,
    frequencies_hz: Tensor,
) -> Tensor:
    """Return the complex response of an equaliser.

    Parameters
    ----------
    settings
        Tensors of one shape (...), by name; only the bands' own keys are read.
    bands
        ``STRIP_EQ_BANDS`` or ``BUS_EQ_BANDS``.
    sample_rate
        In Hz.
    frequencies_hz
        Shape (bins,).

    Returns
    -------
    Tensor
        complex128, shape (..., bins).
    """
    sections = eq_sections(settings, bands, sample_rate=sample_rate)
    angle = frequencies_hz.detach().to(torch.float64) * (-2.0 * math.pi / sample_rate)
    z = torch.polar(torch.ones_like(angle), angle)
    response = _CascadeResponse.apply(sections.reshape(-1, *sections.shape[-2:]), z)
    response = response.reshape(*sections.shape[:-2], len(z))
    if "high_pass_hz" not in settings:
        return response
    # Apart from the others: it is 0 at 0 Hz, and their gradient divides by a section's response.
    section = _high_pass(settings["high_pass_hz"].to(torch.float64), sample_rate)
    b0, b1, b2, a0, a1, a2 = section[..., None].unbind(-2)
    return response * (b0 + b1 * z + b2 * z * z) / (a0 + a1 * z + a2 * z * z)


def _fft_length(frames: int, *, tail_s: float, sample_rate: int) -> int:
    return int(next_fast_len(frames + round(tail_s * sample_rate), real=True))


def _bin_frequencies(length: int, *, sample_rate: int) -> Tensor:
    return torch.fft.rfftfreq(length, 1.0 / sample_rate, dtype=torch.float64)


def apply_response(x: Tensor, response: Tensor, *, length: int) -> Tensor:
    """Filter ``x`` (..., frames) by a response (..., length // 2 + 1) in float64.

    The output has the frames and dtype of ``x``; what rings on past its end is dropped.
    """
    spectrum = torch.fft.rfft(x.to(torch.float64), length)
    return torch.fft.irfft(spectrum * response, length)[..., : x.shape[-1]].to(x.dtype)


def equalise(
    x: Tensor, settings: Mapping[str, Tensor], bands: Sequence[EqBand], *, sample_rate: int
) -> Tensor:
    """Equalise ``x`` (..., 2, frames) with settings of shape (...)."""
    length = _fft_length(x.shape[-1], tail_s=EQ_TAIL_S, sample_rate=sample_rate)
    response = eq_response(
        settings,
        bands,
        sample_rate=sample_rate,
        frequencies_hz=_bin_frequencies(length, sample_rate=sample_rate),
    )
    return apply_response(x, response[..., None, :], length=length)


@kernel
def _ballistics(
    power: npt.NDArray[np.float64],
    settings: npt.NDArray[np.float64],
    detector: float,
    smoothed: npt.NDArray[np.float64],
    reduction: npt.NDArray[np.float64],
) -> None:
    """Run detector, static curve and ballistics; settings are (5, rows), see the adjoint."""
    for row in range(power.shape[0]):
        T, R, W = settings[0, row], settings[1, row], settings[2, row]
        attack, release = settings[3, row], settings[4, row]
        lowest = 10.0 ** ((T - 0.5 * W) / 10.0) - POWER_FLOOR
        p = 0.0
        r = 0.0
        for n in range(power.shape[1]):
            p = detector * p + (1.0 - detector) * power[row, n]
            target = 0.0
            if p > lowest:
                over = 10.0 * np.log10(p + POWER_FLOOR) - T
                if over >= 0.5 * W:
                    target = R * over
                elif over > -0.5 * W:
                    target = R * (over + 0.5 * W) ** 2 / (2.0 * W)
            c = attack if target > r else release
            r = c * r + (1.0 - c) * target
            smoothed[row, n] = p
            reduction[row, n] = r


@kernel
def _ballistics_adjoint(
    grad: npt.NDArray[np.float64],
    settings: npt.NDArray[np.float64],
    detector: float,
    smoothed: npt.NDArray[np.float64],
    reduction: npt.NDArray[np.float64],
    grad_power: npt.NDArray[np.float64],
    out: npt.NDArray[np.float64],
) -> None:
    """Run it backwards; settings and out are (5, rows): threshold, slope, knee, attack, release.

    From r[n] = c r[n-1] + (1 - c) g[n]: the adjoint of r goes on as c λ, of g as (1 - c) λ, and
    that of c itself is (r[n-1] - g[n]) λ. Inside the knee g = R (o + W/2)² / 2W.
    """
    per_power = 10.0 / np.log(10.0)
    for row in range(grad.shape[0]):
        T, R, W = settings[0, row], settings[1, row], settings[2, row]
        attack, release = settings[3, row], settings[4, row]
        lowest = 10.0 ** ((T - 0.5 * W) / 10.0) - POWER_FLOOR
        of_reduction = 0.0
        of_power = 0.0
        for n in range(grad.shape[1] - 1, -1, -1):
            p = smoothed[row, n]
            before = reduction[row, n - 1] if n > 0 else 0.0
            target = 0.0
            by_over = 0.0
            by_slope = 0.0
            by_knee = 0.0
            if p > lowest:
                over = 10.0 * np.log10(p + POWER_FLOOR) - T
                if over >= 0.5 * W:
                    target = R * over
                    by_over = R
                    by_slope = over
                elif over > -0.5 * W:
                    u = over / W + 0.5
                    target = 0.5 * R * W * u * u
                    by_over = R * u
                    by_slope = 0.5 * W * u * u
                    by_knee = 0.5 * R * u * (1.0 - u)
            of_reduction += grad[row, n]
            rises = target > before
            c = attack if rises else release
            of_target = (1.0 - c) * of_reduction
            out[3 if rises else 4, row] += (before - target) * of_reduction
            of_reduction *= c
            out[0, row] -= by_over * of_target
            out[1, row] += by_slope * of_target
            out[2, row] += by_knee * of_target
            of_power = detector * of_power + of_target * by_over * per_power / (p + POWER_FLOOR)
            grad_power[row, n] = (1.0 - detector) * of_power


class _Ballistics(torch.autograd.Function):
    """Power (rows, frames) and five settings (rows,) to the gain reduction in dB, all float64."""

    @staticmethod
    def forward(
        ctx: Any,
        power: Tensor,
        threshold_db: Tensor,
        slope: Tensor,
        knee_db: Tensor,
        attack: Tensor,
        release: Tensor,
        detector: float,
    ) -> Tensor:
        settings = torch.stack([threshold_db, slope, knee_db, attack, release]).detach()
        smoothed = np.empty(tuple(power.shape))
        reduction = np.empty(tuple(power.shape))
        _ballistics(_numpy(power), _numpy(settings), detector, smoothed, reduction)
        out = torch.from_numpy(reduction)
        ctx.detector = detector
        ctx.save_for_backward(settings, power, torch.from_numpy(smoothed), out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        settings, power, smoothed, reduction = (_numpy(v) for v in ctx.saved_tensors)
        grad_power = np.empty_like(smoothed)
        out = np.zeros_like(settings)
        idle = settings[1] == 0.0
        if idle.any():
            # Reduction is in proportion to the slope: of none, only a slope of 1 tells what it
            # would do, and nothing but the slope has a say.
            settings, reduction = settings.copy(), reduction.copy()
            settings[1, idle] = 1.0
            steep = np.empty_like(power[idle])
            _ballistics(
                power[idle],
                np.ascontiguousarray(settings[:, idle]),
                ctx.detector,
                np.empty_like(steep),
                steep,
            )
            reduction[idle] = steep
        _ballistics_adjoint(
            _numpy(grad), settings, ctx.detector, smoothed, reduction, grad_power, out
        )
        grad_power[idle] = 0.0
        out[np.ix_((0, 2, 3, 4), idle)] = 0.0
        return torch.from_numpy(grad_power), *torch.from_numpy(out), None


def compressor_reduction_db(
    power: Tensor,
    *,
    threshold_db: Tensor,
    ratio: Tensor,
    attack_ms: Tensor,
    release_ms: Tensor,
    knee_db: Tensor,
    sample_rate: float,
) -> Tensor:
    """Return the compressor's gain reduction, per sample, differentiable in all its settings.

    Parameters
    ----------
    power
        ``(L² + R²)/2``, shape (..., frames).
    threshold_db, ratio, attack_ms, release_ms, knee_db
        Shape (...); as in :class:`pipeline.console.compressor.Compressor`.
    sample_rate
        In Hz.

    Returns
    -------
    Tensor
        float64, in dB at or above 0, shape of ``power``.
    """
    attack, release = (
        torch.exp(-1000.0 / (v.to(torch.float64) * sample_rate)) for v in (attack_ms, release_ms)
    )
    slope = 1.0 - 1.0 / ratio.to(torch.float64)
    shape = power.shape
    settings = [
        v.to(torch.float64).expand(shape[:-1]).reshape(-1)
        for v in (threshold_db, slope, knee_db, attack, release)
    ]
    rows = power.to(torch.float64).reshape(-1, shape[-1])
    detector = smoothing_coefficient(DETECTOR_MS, sample_rate=sample_rate)
    reduction: Tensor = _Ballistics.apply(rows, *settings, detector)
    return reduction.reshape(shape)


def compress(
    x: Tensor, settings: Mapping[str, Tensor], *, level_lufs: Tensor | float, sample_rate: int
) -> Tensor:
    """Compress ``x`` (..., 2, frames) and make up its gain, with settings of shape (...).

    ``level_lufs``, of shape (...) too, is what the thresholds are relative to.
    """
    power = x.to(torch.float64).square().mean(dim=-2)
    reduction_db = compressor_reduction_db(
        power,
        threshold_db=settings["threshold_lu"] + level_lufs,
        ratio=settings["ratio"],
        attack_ms=settings["attack_ms"],
        release_ms=settings["release_ms"],
        knee_db=settings["knee_db"],
        sample_rate=sample_rate,
    )
    gain = _db_to_amplitude(settings["makeup_db"].to(torch.float64)[..., None] - reduction_db)
    return x * gain[..., None, :].to(x.dtype)


def stereo_image(x: Tensor, *, width: Tensor, spread: Tensor | None, sample_rate: int) -> Tensor:
    """Apply width and spread to ``x`` (..., 2, frames); ``spread`` None leaves that out."""
    left, right = x.unbind(-2)
    mid = 0.5 * (left + right)
    side = 0.5 * (left - right) * width[..., None].to(x.dtype)
    if spread is not None:
        length = _fft_length(x.shape[-1], tail_s=DECORRELATOR_TAIL_S, sample_rate=sample_rate)
        frequencies = _bin_frequencies(length, sample_rate=sample_rate).numpy()
        response = decorrelator_response(sample_rate=sample_rate, frequencies_hz=frequencies)
        decorrelated = apply_response(mid, torch.from_numpy(response), length=length)
        side = side + decorrelated * spread[..., None].to(x.dtype)
    return torch.stack([mid + side, mid - side], dim=-2)


def pan(x: Tensor, position: Tensor) -> Tensor:
    """Balance ``x`` (..., 2, frames) by constant power, -1 left .. 1 right, unity at the centre."""
    angle = (position.to(torch.float64) + 1.0) * (math.pi / 4.0)
    gains = math.sqrt(2.0) * torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)
    return x * gains[..., None].to(x.dtype)  # (..., 2, 1)
