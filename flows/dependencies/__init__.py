"""What results stand on, and the versions of it that their keys hold.

- :mod:`~flows.dependencies.content` hashes what the user's files hold.
- :mod:`~flows.dependencies.source` reads the project's source: definitions and what they use.
- :mod:`~flows.dependencies.closure` follows a function to all that it uses, data files too.
- :mod:`~flows.dependencies.version` tells it as one hash, remembered until a file changes.
"""
