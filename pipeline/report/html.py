"""Pages that ask the network for nothing: names are text, and only the page's own script runs."""

from __future__ import annotations

import base64
import unicodedata
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["page_environment", "visible", "write_whole"]


def visible(value: object) -> object:
    """Make control and direction characters of a string visible; markup of ours passes."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else ascii(c)[1:-1] for c in value
    )


def _policy_hash(script: str) -> str:
    digest = base64.b64encode(sha256(script.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def page_environment() -> Environment:
    """Return the environment of the templates beside this module: everything is escaped.

    The filter ``policy_hash`` gives what allows a script in the page's content security policy.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["policy_hash"] = _policy_hash
    return environment


def write_whole(path: Path, text: str) -> None:
    """Write a page, whole or not at all; what is no valid Unicode becomes a question mark."""
    neighbour = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        neighbour.write_bytes(text.encode("utf-8", "replace"))
        neighbour.replace(path)
    finally:
        neighbour.unlink(missing_ok=True)
