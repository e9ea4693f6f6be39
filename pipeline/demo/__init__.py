"""The demonstration: a session of raw tracks and a reference, synthesised on the spot.

The only room of the package that stands above all the others; nothing imports it but commands.
"""
