"""What engineers do: usual settings by role, and how finished stems sound.

:mod:`~stage2.priors.engineers` reads the one table, ``engineers.toml``, that training examples are
drawn from, that refinement's prices come from, and that reports show settings beside.
"""
