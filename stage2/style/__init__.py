"""The style of a finished mix: a vector of figures, and what is wanted of it, a distribution.

:mod:`~stage2.style.layout` names each figure in the one order that all share,
:mod:`~stage2.style.broad` sums spectra into the broad bands that carry over to another song, and
:mod:`~stage2.style.target` prices a mix under the mean and the spread of a style.
"""
