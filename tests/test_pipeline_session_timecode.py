"""Time stamps: those that tell one story place the tracks, and what becomes of others is said."""

from __future__ import annotations

import pytest

from pipeline.session.timecode import StampedTrack, StampUse, starts_from_stamps

DAY_S = 86_400.0


def track(
    name: str, start_s: float | None, duration_s: float = 200.0, *, rate: int = 48_000, at: int = 0
) -> StampedTrack:
    """Return a track of a rate, stamped at a time as counted ``at`` a rate, its own by default."""
    stamp = None if start_s is None else round(start_s * (at or rate))
    return StampedTrack(f"{name}.wav", rate, duration_s, stamp)


BAND = [track("Kick", 50_000.0), track("Bass", 50_000.0), track("Guitar", 50_012.5)]


def starts(*tracks: StampedTrack, use: StampUse = StampUse.AUTO) -> list[float]:
    return [round(start, 6) for start in starts_from_stamps(tracks, use=use).starts_s]


def notes(*tracks: StampedTrack, use: StampUse = StampUse.AUTO) -> str:
    return "\n".join(starts_from_stamps(tracks, use=use).notes)


def test_equal_stamps_and_none_say_nothing() -> None:
    equal = [track("a", 3_600.0), track("b", 3_600.0), track("c", None)]
    assert (starts(*equal), notes(*equal)) == ([0.0] * 3, "")
    none = [track("a", None), track("b", None)]
    assert (starts(*none), notes(*none)) == ([0.0] * 2, "")
    assert starts_from_stamps([]).starts_s == ()


def test_stamps_of_one_take_are_used_and_said() -> None:
    assert starts(*BAND) == [0.0, 0.0, 12.5]
    assert notes(*BAND) == (
        "time stamps are used: 'Guitar.wav' 12.500 s after the first (see --time-stamps)"
    )


@pytest.mark.parametrize("later_s", [206.0, 300.0, 5_000.0, 20_000.0])
def test_an_overdub_stamped_by_the_clock_starts_with_the_song(later_s: float) -> None:
    overdubs = [track("Vox", 50_000.0 + later_s + 12.5), track("Room", 50_000.0 + later_s + 14.0)]
    assert starts(*BAND, *overdubs) == [0.0, 0.0, 12.5, 0.0, 1.5]
    assert "'Vox.wav', 'Room.wav': stamps at another time" in notes(*BAND, *overdubs)
    used = starts(*BAND, *overdubs, use=StampUse.USE)
    assert used[3:] == [later_s + 12.5, later_s + 14.0]


def test_an_overdub_that_was_recorded_before_starts_with_the_song() -> None:
    assert starts(*BAND, track("Guide", 40_000.0)) == [0.0, 0.0, 12.5, 0.0]


def test_a_track_without_a_stamp_takes_none_from_the_others() -> None:
    assert starts(*BAND, track("Synth", None)) == [0.0, 0.0, 12.5, 0.0]
    assert "without a time stamp, it starts with the earliest: 'Synth.wav'" in notes(
        *BAND, track("Synth", None)
    )


def test_zero_stands_for_none_beside_a_take() -> None:
    assert starts(*BAND, track("Synth", 0.0)) == [0.0, 0.0, 12.5, 0.0]
    assert "'Synth.wav': a time stamp of zero is taken for none" in notes(
        *BAND, track("Synth", 0.0)
    )
    assert starts(track("a", 0.0), track("b", 3.0)) == [0.0, 3.0]


@pytest.mark.parametrize(("rate", "at"), [(44_100, 48_000), (48_000, 44_100), (48_000, 96_000)])
def test_a_stamp_that_was_counted_in_another_rate_is_counted_again(rate: int, at: int) -> None:
    band = [track(name, 50_000.0, rate=96_000) for name in ("a", "b")]
    vocal = track("Vox", 50_003.0, rate=rate, at=at)
    assert starts(*band, vocal) == [0.0, 0.0, 3.0]
    assert f"'Vox.wav': a time stamp that fits only if it was counted at {at} Hz" in notes(
        *band, vocal
    )


def test_one_number_at_two_rates_was_copied() -> None:
    band = [track("a", 30.0, rate=48_000), track("b", 30.0, rate=48_000)]
    vocal = track("Vox", 30.0, rate=44_100, at=48_000)
    assert starts(*band, vocal) == [0.0, 0.0, 0.0]
    assert "'Vox.wav': a time stamp that fits only" in notes(*band, vocal)


def test_stamps_without_any_story_are_ignored() -> None:
    takes = [track("a", 1_000.0), track("b", 2_000.0), track("c", 3_000.0)]
    assert starts(*takes) == [0.0, 0.0, 0.0]
    assert notes(*takes).startswith("time stamps are ignored: no two tracks overlap")


def test_a_take_goes_on_past_midnight() -> None:
    assert starts(track("a", DAY_S - 10.0), track("b", 20.0)) == [0.0, 30.0]
    with_none = [track("a", DAY_S - 10.0), track("b", DAY_S - 8.0), track("c", 0.0)]
    assert starts(*with_none) == [0.0, 2.0, 0.0]


def test_stamps_beyond_any_day_and_single_ones_are_ignored_and_said() -> None:
    broken = StampedTrack("x.wav", 48_000, 200.0, 2**63)
    assert starts(*BAND, broken) == [0.0, 0.0, 12.5, 0.0]
    assert "time stamps beyond any day are ignored: 'x.wav'" in notes(*BAND, broken)
    assert starts(track("a", 70.0), track("b", None)) == [0.0, 0.0]
    assert "'a.wav' alone has a time stamp" in notes(track("a", 70.0), track("b", None))


def test_what_was_asked_for_is_done() -> None:
    assert starts(*BAND, use=StampUse.IGNORE) == [0.0, 0.0, 0.0]
    assert notes(*BAND, use=StampUse.IGNORE) == (
        "time stamps are ignored: all tracks start together"
    )


def test_pieces_of_a_long_recording_follow_each_other() -> None:
    pieces = [track("a", 100.0, 60.0), track("b", 160.0, 60.0), track("c", 220.0, 60.0)]
    assert starts(*pieces) == [0.0, 60.0, 120.0]


def test_two_recorders_each_count_from_a_time_of_their_own() -> None:
    # One counts from midnight, the other from when it was switched on.
    guest = [track("Gtr", 0.0), track("Vox", 2.0), track("Pads", 0.0)]
    assert starts(*BAND, *guest) == [0.0, 0.0, 12.5, 0.0, 2.0, 0.0]
    assert "stamps at another time than all others" in notes(*BAND, *guest)
