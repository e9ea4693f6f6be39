"""The command ``stemwright``: arguments, the screen, and a module for each family of commands.

Thin: each command parses, calls a recipe of another room, and shows what came. Recipes are
imported when a command runs, since importing torch takes longer than ``--help`` may.
"""
