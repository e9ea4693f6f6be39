"""Stage 2: style transfer between subgroups, by gradient through a differentiable console.

``style`` measures what is compared, ``reference`` says which of a reference's figures can be
followed, and ``console`` holds the console in torch over the plan's parameter tables: exact, and as
a fast model on band powers. ``priors`` is the table of what engineers do and ``genre`` that of how
genres sound. ``controller`` predicts the settings, and ``refine`` improves them by gradient.
``corpus`` and ``training`` make songs and train the controller on them.

Stage 2 returns numbers; ``pipeline.render`` turns them into sound. Tensors are
``(batch, stems, channels, frames)``.
"""
