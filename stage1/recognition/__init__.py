"""Which role a track has: by its name, by its sound, and by both together.

Names are read in many languages (:file:`names.toml`); the classifier's forest listens; and
:mod:`~stage1.recognition.recognise` joins both and says why. Inference only: training is in the
room below, which nothing here imports.
"""
