"""The console as a differentiable model, and the space in which settings are searched.

The exact processors are in :mod:`pipeline.console`; these follow them in torch, on bands and
statistics of stems where that suffices. Tensors are ``(batch, stems, channels, frames)``.
"""
