"""Tracks that are no part of the mix, told by their signals.

What serves the recording (clicks, timecode, talkback), sums of other tracks, takes beside their
comp, copies of the reference. Each is named with the reason; ``session.toml`` has the last word.
"""
