"""How the steps of a recipe run: on threads, watched by Prefect, or on Dask workers.

Same samples on each. A recipe calls its engine; the engine knows no recipe.
"""
