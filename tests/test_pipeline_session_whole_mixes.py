"""Mixes of the whole song among tracks: what remains without them is asked first."""

from __future__ import annotations

import pytest

from pipeline.session.whole_mixes import Candidate, WholeMixes, whole_mixes


def judged(*names: str, wanted: str = "") -> WholeMixes:
    return whole_mixes(
        [Candidate(f"{name}.wav", 2, 60.0) for name in names],
        song="Sunlight",
        wanted=lambda name: name == wanted,
    )


@pytest.mark.parametrize(
    ("names", "left_out", "kept"),
    [
        # a beat under vocals, whatever it is called
        (("Lead Vox", "Instrumental Mix"), (), ("Instrumental Mix",)),
        (("Lead Vox", "Adlibs", "Instrumental (Mastered)"), (), ("Instrumental (Mastered)",)),
        (("Lead Vox", "Sunlight Mix"), (), ("Sunlight Mix",)),
        (("Lead Vox", "Shaker", "Instrumental Mix"), (), ("Instrumental Mix",)),
        (("Anna", "Ben", "2track"), (), ("2track",)),
        # of several, the one without the voice
        (("Lead Vox", "Rough Mix", "Instrumental Mix"), ("Rough Mix",), ("Instrumental Mix",)),
        # a song without them
        (("Kick", "Bass", "Keys", "Lead Vox", "Instrumental Mix"), ("Instrumental Mix",), ()),
        (("Kick", "Bass", "Keys", "Rough Mix"), ("Rough Mix",), ()),
        (("Guitar", "Lead Vox", "Rough Mix"), ("Rough Mix",), ()),
        (("Audio 01", "Audio 02", "Audio 03", "Mix"), ("Mix",), ()),
        (("Spur 1", "Spur 2", "Rough Mix"), ("Rough Mix",), ()),
        (
            ("Kick", "Bass", "Lead Vox", "Rough Mix", "Instrumental Mix"),
            ("Rough Mix", "Instrumental Mix"),
            (),
        ),
        # nothing else
        (("Rough Mix",), (), ("Rough Mix",)),
        (("Rough Mix", "Rough Mix 2"), ("Rough Mix", "Rough Mix 2"), ()),
        (("Acapella Mix", "Instrumental Mix"), (), ("Instrumental Mix", "Acapella Mix")),
    ],
)
def test_a_mix_is_left_out_only_where_a_song_remains(
    names: tuple[str, ...], left_out: tuple[str, ...], kept: tuple[str, ...]
) -> None:
    found = judged(*names)
    assert found.left_out == tuple(f"{name}.wav" for name in left_out)
    assert found.kept == tuple(f"{name}.wav" for name in kept)


def test_what_the_user_wants_counts_as_a_track() -> None:
    assert judged("Lead Vox", "Rough Mix", wanted="Rough Mix.wav") == WholeMixes((), ())
