"""Stage 2: style transfer between subgroups, by gradient through a differentiable console.

``style`` says what is compared, ``console`` is the mixer in torch over the plan's parameter
table, ``bands`` is its fast model in the band-power domain, and ``refine`` finds the settings.
It returns numbers; ``pipeline.render.mixdown`` turns them into sound.
"""
