"""The versions that a result depends on, as results record them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform

__all__ = ["versions"]


_DISTRIBUTIONS = (
    "stemwright", "numpy", "scipy", "numba", "torch", "librosa", "pesto-pitch", "soundfile", "soxr",
)  # fmt: skip
# Of an extra: recorded where it is installed.
_OPTIONAL = ("prefect",)


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    versions = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        versions[name] = importlib.metadata.version(name)
    for name in _OPTIONAL:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
