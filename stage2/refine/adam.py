"""Adam within bounds: how refinement goes down its objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

__all__ = ["Descent"]

_MEAN, _SQUARE, _EPSILON = 0.9, 0.98, 1e-8


class Descent:
    """Adam (D. P. Kingma, J. Ba, ICLR 2015) on points that stay within 0 and 1.

    torch's own costs two seconds at its first use, for imports that nothing here needs.

    Parameters
    ----------
    points
        Leaves that require gradients; moved in place.
    """

    def __init__(self, points: Sequence[torch.Tensor]) -> None:
        self._points = points
        self._means = [torch.zeros_like(point) for point in points]
        self._squares = [torch.zeros_like(point) for point in points]
        self._steps = 0

    def step(self, loss: Callable[[], torch.Tensor], rate: float) -> None:
        """Go one step down ``loss``, by at most about ``rate`` in each coordinate."""
        gradients = torch.autograd.grad(loss(), self._points)
        self._steps += 1
        fresh_mean = 1.0 - _MEAN**self._steps
        fresh_square = 1.0 - _SQUARE**self._steps
        for point, gradient, mean, square in zip(
            self._points, gradients, self._means, self._squares, strict=True
        ):
            gradient = torch.nan_to_num(gradient, 0.0, 0.0, 0.0)
            mean.lerp_(gradient, 1.0 - _MEAN)
            square.lerp_(gradient.square(), 1.0 - _SQUARE)
            with torch.no_grad():
                way = (mean / fresh_mean) / ((square / fresh_square).sqrt() + _EPSILON)
                point.sub_(rate * way).clamp_(0.0, 1.0)
