"""How the classifier of roles is trained: synthesised and recorded examples, a forest.

Runs offline, when weights are made; nothing of a mix imports it.
"""
