"""The versions that a result depends on, as results record them."""

from __future__ import annotations

import importlib.metadata
import platform

__all__ = ["versions"]


_DISTRIBUTIONS = (
    "stemwright", "numpy", "scipy", "numba", "torch", "librosa", "pesto-pitch", "soundfile", "soxr",
    "prefect",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        found[name] = importlib.metadata.version(name)
    return found
