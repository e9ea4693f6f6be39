"""Styles as files: measured of references, saved without audio, followed later."""
