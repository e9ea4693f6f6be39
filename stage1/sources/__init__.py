"""Which tracks hold the same source: microphones of one kit, DI and amplifier, doubles.

Pairs are compared by coherence, classified, and grouped; what follows (polarity, offsets, pans) is
decided in balance.
"""
