"""From a plan to sound, in blocks: tracks to stems, stems through the console, the mix.

The arithmetic of every command that makes audio. Sums are made in the plan's order, so that equal
plans give equal samples whatever the number of threads.
"""
