"""Fundamental frequency by an ensemble of pYIN and PESTO, a value a hop, NaN where unvoiced.

Frequencies in Hz, times in seconds; the same input gives the same estimate on any thread.
"""
