"""Where results and files lie: the store of steps, output folders, local and remote places.

Nothing half-written is ever seen under its final name.
"""
