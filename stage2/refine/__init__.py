"""Refinement: the most likely settings under a style and under what engineers do.

Starts from the controller's prediction, goes down the price by gradient, checks it on exactly
rendered sound, and holds what wins to smooth curves and modest gain reduction.
"""
