"""The style of a finished mix as a vector of figures, and how two of them compare.

:mod:`~stage2.style.layout` names each figure, with its unit, in the one order that all share.
"""
