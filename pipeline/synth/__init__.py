"""Synthesised instruments and voices, which the demonstration and training songs play.

Everything is drawn from generators that the caller seeds: the same seed gives the same samples.
"""
