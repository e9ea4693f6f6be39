"""PESTO (Riou et al., ISMIR 2023) at chosen moments of a signal, with its published weights.

The weights and the constant-Q kernels come from the ``pesto-pitch`` package; the computation is
arranged anew, which changes the results by rounding alone:

- a frame is computed where it is asked for, not every 10 ms of the file;
- confidence needs the constant-Q frame only, so the encoder runs on the frames worth it;
- the encoder's two wide convolutions (39 taps, 40 channels) run by FFT along frequency;
- PyTorch keeps to the calling thread: the same input gives the same bits on any number of them.
"""

from __future__ import annotations

import sys
import threading
import types
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
import torch

from pipeline.units import Float32Array
from stage1.pitch.torch_threads import one_thread

__all__ = ["SAMPLE_RATE", "Pesto", "load_pesto"]


SAMPLE_RATE = 16000
"""In Hz. A hop of 10 ms is a whole number of samples here; 22.05 and 11.025 kHz drift in time."""
HOP_MS = 10.0
CHECKPOINT = "mir-1k_g7"
ENCODER_BATCH = 64
CQT_BATCH = 512
_import_lock = threading.Lock()


def _import_pesto() -> Any:
    """Import ``pesto``, also where the installed torchaudio does not load.

    ``pesto`` imports torchaudio only to open files, which nothing here does; torchaudio's binary
    fails to load next to a torch of another version.
    """
    with _import_lock:
        if "pesto" in sys.modules:
            return sys.modules["pesto"]
        before = set(sys.modules)
        try:
            import pesto
        except (ImportError, OSError):
            _forget(before, "pesto", "torchaudio")
            # An empty module for the time of the import alone: others shall see the real error.
            sys.modules["torchaudio"] = types.ModuleType("torchaudio")
            try:
                import pesto
            finally:
                del sys.modules["torchaudio"]
        return pesto


def _forget(before: set[str], *packages: str) -> None:
    """Take what a failed import left behind of ``packages`` out of ``sys.modules``."""
    for name in set(sys.modules) - before:
        if name.split(".")[0] in packages:
            del sys.modules[name]


class Pesto:
    """The model with its kernels laid out for frames at any moment.

    Parameters
    ----------
    model
        What ``pesto.load_model`` returns, for :data:`SAMPLE_RATE`.
    """

    def __init__(self, model: Any) -> None:
        self._confidence = model.confidence
        self._encoder = model.encoder
        self._crop = model.crop_cqt
        self._bins_per_semitone = int(model.bins_per_semitone)
        self._shift = -round(float(model.shift) * self._bins_per_semitone)
        cqt = model.preprocessor.hcqt_kernels.cqt_kernels[0]
        kernels = cqt.conv.weight[:, 0] * cqt.sqrt_lengths.flatten().repeat(2)[:, None]
        used = torch.nonzero(kernels.abs().amax(dim=0)).flatten()
        first, last = int(used[0]), int(used[-1])
        self._kernels = kernels[:, first : last + 1].T.contiguous()  # (samples, 2 * bins)
        self._offset = first - kernels.shape[1] // 2
        self._pad = kernels.shape[1] // 2
        self._bins_in = int(model.encoder.layernorm.normalized_shape[-1])
        taps = model.encoder.conv1[0].kernel_size[0]
        self._padding = taps // 2
        # The circular tail wraps onto the padding that is cut off again.
        self._fft_length = scipy.fft.next_fast_len(self._bins_in + self._padding, real=True)
        self._wide = [
            torch.fft.rfft(layer[0].weight.flip(-1), self._fft_length).permute(2, 1, 0).contiguous()
            for layer in model.encoder.prefilt_layers
        ]  # each (frequency, channels in, channels out)
        weight = model.encoder.fc.weight.flatten()
        outputs = int(model.encoder.fc.padding[0]) + 1
        inputs = weight.numel() - outputs + 1
        index = torch.arange(inputs)[:, None] - torch.arange(outputs)[None, :] + outputs - 1
        self._toeplitz = weight[index]  # (inputs, outputs)

    def frames(
        self, signal: Float32Array, centres: npt.NDArray[np.int64]
    ) -> tuple[torch.Tensor, npt.NDArray[np.float64]]:
        """Return the constant-Q frames around ``centres`` and the confidence of each.

        Parameters
        ----------
        signal
            Mono, at :data:`SAMPLE_RATE`.
        centres
            Sample positions, ``(frames,)``.

        Returns
        -------
        frames : Tensor, shape (frames, bins)
            In dB, for :meth:`pitch`.
        confidence : ndarray, shape (frames,)
            0 to 1.
        """
        reflect = signal.size > self._pad
        padded = np.pad(signal, self._pad, mode="reflect" if reflect else "constant")
        width = self._kernels.shape[0]
        windows = np.lib.stride_tricks.sliding_window_view(padded, width)
        starts = centres + self._pad + self._offset
        decibels, confidence = [], []
        with one_thread(), torch.inference_mode():
            for batch in np.array_split(starts, max(1, -(-starts.size // CQT_BATCH))):
                parts = torch.from_numpy(windows[batch]) @ self._kernels
                real, imaginary = parts.chunk(2, dim=1)
                magnitude = torch.sqrt(real * real + imaginary * imaginary)
                level = magnitude.clamp_(min=torch.finfo(torch.float32).eps).log10_().mul_(20)
                # Ten to the power of dB / 10: the energies that the classifier was trained on.
                confidence.append(self._confidence(torch.exp(level * (np.log(10) / 10))))
                decibels.append(level)
            return torch.cat(decibels), torch.cat(confidence).numpy().astype(np.float64)

    def pitch(self, frames: torch.Tensor) -> npt.NDArray[np.float64]:
        """Return the f0 in Hz of constant-Q frames ``(frames, bins)`` from :meth:`frames`."""
        with one_thread(), torch.inference_mode():
            parts = [self._pitch(batch) for batch in frames.split(ENCODER_BATCH)]
            semitones = torch.cat(parts).numpy().astype(np.float64)
        return np.asarray(440.0 * 2.0 ** ((semitones - 69.0) / 12.0))

    def _pitch(self, frames: torch.Tensor) -> torch.Tensor:
        from pesto.utils import reduce_activations

        encoder = self._encoder
        x = encoder.layernorm(self._crop(frames[:, None]))
        x = encoder.conv1(x)  # (batch, channels, bins)
        for layer, response in zip(encoder.prefilt_layers, self._wide, strict=True):
            x = x + layer[1](self._convolve(x, response) + layer[0].bias[:, None])
        x = encoder.conv_layers(x).flatten(1)
        activations = torch.softmax(x @ self._toeplitz, dim=-1).roll(self._shift, -1)
        return torch.as_tensor(reduce_activations(activations, reduction="alwa"))

    def _convolve(self, x: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
        """Convolve ``(batch, channels, bins)`` along the bins, same size."""
        spectrum = torch.fft.rfft(x, self._fft_length).permute(2, 0, 1)
        product = torch.bmm(spectrum, response).permute(1, 2, 0)
        full = torch.fft.irfft(product, self._fft_length)
        return full[..., self._padding : self._padding + self._bins_in]


@lru_cache(maxsize=1)
def _load() -> Pesto:
    pesto = _import_pesto()
    # pesto unpickles its checkpoint without ``weights_only``: the file is part of the installed
    # wheel, as trustworthy as the code beside it, and nothing is downloaded.
    model = pesto.load_model(CHECKPOINT, step_size=HOP_MS, sampling_rate=SAMPLE_RATE)
    model.requires_grad_(False)
    return Pesto(model)


def load_pesto() -> Pesto:
    """Return the model with the weights inside the ``pesto-pitch`` package, loaded once."""
    with _load_lock:
        return _load()


_load_lock = threading.Lock()
