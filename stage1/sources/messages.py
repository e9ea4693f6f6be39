"""What the user is told of tracks that hold the same sound, and what to do about it."""

from __future__ import annotations

from stage1.sources.records import Fault, Relation, Relations

__all__ = ["fault_messages"]

_REMEDY = "counted once; mute one in session.toml"


def fault_messages(relations: Relations) -> tuple[str, ...]:
    """Return a sentence for each relation with a fault, in the order of the tracks."""
    return tuple(
        _of_copies(pair, pair.fault) if pair.one_recording else _of_microphones(pair, pair.fault)
        for pair in relations.pairs
        if pair.fault is not None
    )


def _of_copies(pair: Relation, fault: Fault) -> str:
    first, second, at = pair.first, pair.second, f"at {pair.level_db:+.1f} dB"
    if pair.kind == "duplicate":
        return f"{second!r} is the same recording as {first!r} {at}: {_REMEDY}"
    if pair.kind == "copy delayed":
        turned = "inverted and " if pair.inverted else ""
        order = "later" if pair.delay_ms > 0.0 else "earlier"
        return (
            f"{second!r} is the recording of {first!r}, {turned}{abs(pair.delay_ms):.2f} ms "
            f"{order} {at}: together they comb; {_REMEDY}"
        )
    return f"{second!r} is the recording of {first!r} with inverted polarity {at}: " + (
        f"flipped in the mix; {_REMEDY}"
        if fault.is_flipped
        else f"together they cancel; {_REMEDY}, or set invert = true there for one"
    )


def _of_microphones(pair: Relation, fault: Fault) -> str:
    first, second, parts = pair.first, pair.second, []
    if fault.is_inverted:
        usual = ": usual for a microphone on the other side of the skin" * fault.is_underside
        parts.append(
            f"{second!r} is inverted against {first!r} (correlation {pair.correlation:.2f}){usual}"
            + (
                ", flipped in the mix"
                if fault.is_flipped
                else f": set invert = true for it in session.toml if it sounds thin with {first!r}"
            )
        )
    if fault.usual_delay_ms is not None:
        order, move = ("later", "earlier") if fault.delay_ms > 0.0 else ("earlier", "later")
        by = f"{abs(fault.delay_ms):.1f} ms"
        parts.append(
            f"{second!r} is {by} {order} than {first!r}, and {fault.usual_delay_ms:g} ms are usual "
            f"between such microphones: move it {by} {move} in your workstation if that is not "
            "meant"
        )
    return "; ".join(parts)
