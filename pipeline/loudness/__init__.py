"""Loudness and level by the standards: ITU-R BS.1770, EBU R 128, true peak.

Meters stream in blocks ``(channels, frames)`` and answer in LUFS, LU or dBTP; silence is -inf.
"""
