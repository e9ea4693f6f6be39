"""A session folder: which files are tracks, and what ``session.toml`` says of them.

Knows files and names, not what they sound like. Problems are collected, each with its file, the
value and the remedy, and raised together.
"""
