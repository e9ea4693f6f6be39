"""Stage 1: analyse each track and balance the tracks of each subgroup, by rules.

:mod:`~stage1.features` gathers in one decode what is measured of a track: levels, spectra and
segments (``signal``), fundamental frequency (``pitch``), ``timbre``, and ``loudness`` as it is
heard. :mod:`~stage1.records` holds what is known of a track.

``recognition`` says what a track is, by its name and its sound; ``sources`` says which tracks
recorded the same source; ``exclusions`` says which are no part of the mix; ``balance`` decides
gains, pans and the levels of stems.

Stage 1 reads audio through ``pipeline`` and returns numbers; it never renders. Gains are in dB,
levels in LUFS or LU, times in seconds, frequencies in Hz; a missing f0 is NaN.
"""
