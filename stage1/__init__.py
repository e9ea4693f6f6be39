"""Stage 1: analyse each track and balance the tracks of each subgroup, by rules.

``features`` gathers in one decode what is measured of a track: ``levels`` and ``spectral``, then on
passages ``f0`` (with ``pyin``, ``pesto_encoder`` and ``harmonicity``), ``narrowband`` and ``sones``
(with ``zwicker``) for its loudness, and ``timbre``.

``subgroups`` says what a track is, from its name (``vocabulary``, ``spelling``, ``names``,
``role_choice``) and its sound (``sound``, weighed by ``hearing``); ``relations`` and ``sources``
say which tracks are one source. ``balance`` (with ``ensemble`` and ``offsets``) and ``placement``
(with ``mono``) decide gain and pan. ``sound_training`` makes the weights of ``sound``.

Stage 1 reads audio through ``pipeline`` and returns numbers; it never renders.
"""
