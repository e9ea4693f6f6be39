"""Faders and pans inside a subgroup, and the levels that stems are balanced to.

Gains are in dB, levels in LU against the session's anchor; ``offsets.toml`` holds the targets by
role with their sources. The topmost room of the stage.
"""
