"""Stage 1: analyse each track and balance the tracks of each subgroup, by rules.

``features`` gathers what ``f0``, ``spectral`` and ``narrowband`` measure of one track;
``subgroups`` says what the track is; ``balance`` and ``placement`` decide its gain and its pan.
It reads audio through ``pipeline`` and returns numbers; it never renders.
"""
