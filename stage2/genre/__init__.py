"""How records of a genre sound, as styles to follow.

:mod:`~stage2.genre.names` reads ``targets.toml``, a row a genre with spread and source, and
:mod:`~stage2.genre.targets` makes targets of it.
"""
