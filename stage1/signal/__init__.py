"""Levels, spectra, segments and faults of one track's samples.

The measures that the stage's other rooms stand on; arrays are ``(channels, frames)`` float32, or
mono ``(frames,)`` where a docstring says so.
"""
