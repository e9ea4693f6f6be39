"""Composition: the recipe of a mix, the engines that run it, the command line, the dashboard.

The only package that imports Prefect, and it does so lazily: a local run never loads it.
"""
