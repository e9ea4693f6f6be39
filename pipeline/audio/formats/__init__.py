"""Containers and codecs: where the samples of a file really begin and end.

Headers are believed as far as the file bears them out: lengths are counted from chunks, pages and
frames. :mod:`~pipeline.audio.formats.recordings` chooses how a file is opened; what libsndfile does
not read goes through FFmpeg. Imports nothing of the other rooms but units, errors and compiled
loops.
"""
