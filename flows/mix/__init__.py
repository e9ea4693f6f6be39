"""The main recipe, from a session to a finished mix, and what is written beside it."""
