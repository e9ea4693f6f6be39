"""What the dashboard lists a run under: its kind, its tags and the run that it is a part of."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Listing", "run_tags"]

# The pages give each tag one line.
_LONGEST = 80


@dataclass(frozen=True)
class Listing:
    """What the dashboard lists a run under.

    Parameters
    ----------
    flow_name
        What kind of recipe it is; the dashboard groups runs by it.
    tags
        Of the flow run, as :func:`run_tags` makes them.
    parent_run
        Identifier of the flow run that this one is a part of, such as that of a catalogue.
    """

    flow_name: str = "mix"
    tags: tuple[str, ...] = ()
    parent_run: str | None = None


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
