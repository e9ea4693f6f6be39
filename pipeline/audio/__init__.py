"""Audio files: what a file holds, read and written as streams of float32 blocks.

A caller opens files here and nowhere else: :mod:`~pipeline.audio.info` says what a file holds
before it is read, :mod:`~pipeline.audio.stream` reads it, :mod:`~pipeline.audio.writer` writes one.
Samples are float32 ``(channels, frames)`` at the file's own rate; nothing is resampled, clipped or
mixed to mono here. Knows the formats below it, and no session, plan or console.
"""
