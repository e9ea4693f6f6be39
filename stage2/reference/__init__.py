"""Which of a reference's figures can be trusted, and what is mended before it is followed.

Band limits, rumble, dead or inverted channels: faults of the copy are no style.
"""
