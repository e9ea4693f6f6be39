"""How wide a track is, from sums that passages add to."""

from __future__ import annotations

import math

import numpy as np

from pipeline.jit import kernel
from pipeline.units import Float32Array, Float64Array

__all__ = ["IMAGE_NAMES", "NO_IMAGE", "image_descriptors", "image_products"]


IMAGE_NAMES: tuple[str, ...] = ("side_to_mid", "correlation", "width_over_2khz")
NO_IMAGE: Float64Array = np.zeros(6)
"""Of mono and silence; what :func:`image_products` returns is added to it."""


def image_products(piece: Float32Array) -> Float64Array:
    """Return what :func:`image_descriptors` needs to know of a passage, ``(2, frames)``."""
    return _products(np.ascontiguousarray(piece[0]), np.ascontiguousarray(piece[1]))


@kernel
def _products(left: Float32Array, right: Float32Array) -> Float64Array:
    """Return energies of left, right and their product, of the signal and of its differences.

    The first difference rises 6 dB an octave: a look at the upper half of the spectrum.
    """
    out = np.zeros(6)
    a0, b0 = 0.0, 0.0
    for i in range(left.size):
        a, b = float(left[i]), float(right[i])
        out[0] += a * a
        out[1] += b * b
        out[2] += a * b
        out[3] += (a - a0) ** 2
        out[4] += (b - b0) ** 2
        out[5] += (a - a0) * (b - b0)
        a0, b0 = a, b
    return out


def image_descriptors(products: Float64Array) -> Float64Array:
    """Return side to mid in dB (-60 for mono), correlation, and side to mid of the highs."""
    values = []
    for ll, rr, lr in products.reshape(2, 3):
        side, mid = max(ll + rr - 2.0 * lr, 0.0), max(ll + rr + 2.0 * lr, 0.0)
        ratio = 10.0 * math.log10((side + 1e-20) / (mid + 1e-20)) if ll + rr else -60.0
        values.append((min(max(ratio, -60.0), 20.0), lr / math.sqrt(ll * rr) if ll * rr else 1.0))
    return np.array([values[0][0], values[0][1], values[1][0]])
