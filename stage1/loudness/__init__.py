"""Loudness of a track as it is heard: BS.1770 with a correction for narrow bands, and sones.

ISO 532-1 (Zwicker) gives the ground truth to which the correction for narrowband tracks is
fitted.
"""
