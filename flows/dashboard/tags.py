"""Tags of a run on the dashboard: what is mixed, as what, so that runs can be filtered by them."""

from __future__ import annotations

__all__ = ["run_tags"]

# The pages give each tag one line.
_LONGEST = 80


def run_tags(*kinds: str, session: str | None = None) -> tuple[str, ...]:
    """Return the tags of a run.

    Parameters
    ----------
    kinds
        What kind of run it is, such as ``"mix"``.
    session
        Name of the session; shown on one line and not longer than fits there.

    Examples
    --------
    >>> run_tags("mix", session="Delta Rock")
    ('stemwright', 'mix', 'session:Delta Rock')
    """
    named = () if session is None else (f"session:{session}",)
    return tuple(_short(tag) for tag in ("stemwright", *kinds, *named))


def _short(tag: str) -> str:
    shown = " ".join("".join(c if c.isprintable() else " " for c in tag).split())
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
