"""The genres there are targets of, and what else they are called."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import Any

from pipeline.errors import suggest

__all__ = ["genre_names", "genre_table", "parse_genre"]

_ALIASES = {
    "hip hop": "hip-hop", "hiphop": "hip-hop", "rap": "hip-hop", "trap": "hip-hop",
    "grime": "hip-hop", "rnb": "hip-hop", "r&b": "hip-hop",
    "edm": "electronic", "dance": "electronic", "house": "electronic", "techno": "electronic",
    "trance": "electronic", "electro": "electronic", "drum and bass": "electronic",
    "heavy metal": "metal", "hard rock": "metal", "country": "country-folk",
    "folk": "country-folk", "americana": "country-folk", "bluegrass": "country-folk",
    "dub": "reggae", "ska": "reggae", "disco": "disco-funk", "funk": "disco-funk",
    "soul": "disco-funk", "orchestral": "classical", "orchestra": "classical",
    "soundtrack": "classical", "singer-songwriter": "acoustic", "unplugged": "acoustic",
    "indie": "rock", "alternative": "rock", "punk": "rock", "swing": "jazz", "bebop": "jazz",
}  # fmt: skip


@lru_cache(maxsize=1)
def genre_table() -> dict[str, dict[str, Any]]:
    """Return the rows of ``targets.toml``, by genre."""
    text = files(__package__).joinpath("targets.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def genre_names() -> tuple[str, ...]:
    """Return the genres that there are targets of."""
    return tuple(genre_table())


def parse_genre(text: str) -> str:
    """Return the genre that a name or one of its other names stands for.

    Raises
    ------
    ValueError
        If it is unknown, with what comes near.

    Examples
    --------
    >>> parse_genre("Hip Hop")
    'hip-hop'
    """
    name = " ".join(text.lower().replace("_", " ").split())
    name = _ALIASES.get(name, name.replace(" ", "-"))
    if name not in genre_table():
        known = [*genre_names(), *_ALIASES]
        raise ValueError(suggest(name, known))
    return name
