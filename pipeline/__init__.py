"""The floor that every stage stands on: sessions, audio, plans, and how a plan becomes sound.

Rooms and arrows::

    flows ──► stage1 ──► pipeline
      └─────► stage2 ──► pipeline

``stage1`` and ``stage2`` never import each other, ``pipeline`` knows neither, and Prefect is
imported in ``flows`` alone.

Conventions of the whole project
--------------------------------
- Audio is float32, ``(channels, frames)`` in numpy and ``(batch, stems, channels, frames)`` in
  torch. Nothing is mono-ised, truncated, clipped or quantised before the delivered file.
- Levels are in dB or LUFS, times in seconds, frequencies in Hz; a name ends in its unit.
- A missing f0 is NaN. Silence is ``-inf`` LUFS, and no code divides by it.
- Decisions are data: the stages decide numbers, one renderer turns a plan into sound.
"""
