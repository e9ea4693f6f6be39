"""The losses of the Diff-MST recipe: multi-resolution STFT, and audio features."""

from __future__ import annotations

import torch
from diffmst_console import RATE
from torch import Tensor


def _sum_and_difference(mix: Tensor) -> Tensor:
    return torch.stack([mix.sum(-2), mix[..., 0, :] - mix[..., 1, :]], dim=-2)


def _magnitude(x: Tensor, size: int) -> Tensor:
    spectrum = torch.stft(
        x.flatten(0, -2), size, size // 4, window=torch.hann_window(size), return_complex=True
    )
    power = spectrum.real.square() + spectrum.imag.square()
    return torch.sqrt(power + 1e-9)  # (mixes * 2, bins, time)


def stft_loss(mix: Tensor, wanted: Tensor) -> Tensor:
    """Return the multi-resolution STFT distance of sum and difference, mixes (mixes, 2, frames)."""
    total = mix.new_zeros(())
    for size in (512, 2048, 8192):
        x, y = (_magnitude(_sum_and_difference(v), size) for v in (mix, wanted))
        # Over both signals at once: in a nearly mono mix the difference alone would be all.
        x, y = (v.reshape(len(mix), -1) for v in (x, y))
        convergence = torch.linalg.norm(y - x, dim=1) / torch.linalg.norm(y, dim=1)
        total = total + convergence.mean() + (torch.log(y) - torch.log(x)).abs().mean()
    return total / 3.0


BARK_EDGES_HZ = [20, 100, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000]
BARK_EDGES_HZ += [2320, 2700, 3150, 3700, 4400, 5300, 6400, 7700, 9500, 12000, 15500]


def _bark_filterbank() -> Tensor:
    frequencies = torch.fft.rfftfreq(8192, 1.0 / RATE)
    edges = torch.tensor(BARK_EDGES_HZ)
    inside = (frequencies >= edges[:-1, None]) & (frequencies < edges[1:, None])
    weights: Tensor = inside / inside.sum(dim=1, keepdim=True)
    return weights  # (24, bins)


def audio_features(mix: Tensor) -> dict[str, Tensor]:
    """Return the five features of mixes (mixes, 2, frames): levels in dB, bands as natural logs."""
    power = mix.square().mean(-1) + 1e-8
    rms_db = 10.0 * torch.log10(power)
    left, right = power.unbind(-1)
    both = _sum_and_difference(mix)
    middle, side = (both.square().mean(-1) + 1e-8).unbind(-1)
    bands = _bark_filterbank() @ _magnitude(both, 8192).square().mean(-1)[..., None]
    return {
        "rms": rms_db,
        "crest": 20.0 * torch.log10(mix.abs().amax(-1) + 1e-4) - rms_db,
        "width": side / middle,
        "imbalance": (right - left) / (right + left),
        "bark": 0.5 * torch.log(bands + 1e-8),
    }


FEATURE_WEIGHTS = {"rms": 0.1, "crest": 0.001, "width": 1.0, "imbalance": 1.0, "bark": 0.1}


def feature_loss(mix: Tensor, wanted: Tensor) -> Tensor:
    """Return the weighted sum of the features' mean squared errors."""
    x, y = audio_features(mix), audio_features(wanted)
    return torch.stack(
        [w * (x[name] - y[name]).square().mean() for name, w in FEATURE_WEIGHTS.items()]
    ).sum()
