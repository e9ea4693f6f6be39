"""What a track sounds like, as the figures that the classifier of roles hears.

Descriptors of spectrum, harmonics and time, a vector a track.
"""
