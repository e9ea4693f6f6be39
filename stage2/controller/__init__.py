"""The transformer that looks at stems and reference and predicts the console's settings.

Inference with the shipped weights; they are loaded as tensors only, and need no network.
"""
