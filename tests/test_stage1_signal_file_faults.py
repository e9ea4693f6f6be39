"""DC told from lopsided sounds, and channels that are not what a stereo file's should be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.console.conditioning import ChannelUse
from stage1.features import TrackAnalyser
from stage1.signal.file_faults import (
    HIGHPASS_HZ,
    ChannelFault,
    FileFaults,
    find_faults,
    names_mid_side,
)
from stage1.signal.levels import LevelMeter

RATE = 8000
SECONDS = 10
T = np.arange(RATE * SECONDS) / RATE
RNG = np.random.default_rng(7)


def notes(hz: float = 220.0) -> npt.NDArray[np.float64]:
    envelope = np.maximum(0.0, np.sin(2 * np.pi * 0.7 * T)) ** 0.5
    tone = sum(np.sin(2 * np.pi * hz * h * T + h) / h for h in range(1, 9))
    return np.asarray(0.1 * envelope * tone + 1e-4 * RNG.standard_normal(T.size))


def kicks() -> npt.NDArray[np.float64]:
    """Hits that always push out first: no cycle is whole, and the mean of each is above 0."""
    since = T % 0.5
    return np.asarray(0.8 * np.cos(2 * np.pi * 45.0 * since) * np.exp(-since / 0.05))


def faults(*channels: npt.NDArray[np.float64], **keys: object) -> FileFaults:
    audio = np.stack(channels).astype(np.float32)
    meter = LevelMeter(sample_rate=RATE, channels=len(channels))
    for start in range(0, audio.shape[1], 3000):
        meter.process(audio[:, start : start + 3000])
    return find_faults(meter.moments(), **keys)  # type: ignore[arg-type]


@pytest.mark.parametrize("dc", [0.005, 0.02, -0.1])
def test_a_constant_is_found_and_subtracted(dc: float) -> None:
    found = faults(notes() + dc)
    assert found.conditioning.dc == (pytest.approx(dc, rel=0.02),)
    assert found.conditioning.dc_highpass_hz == 0.0
    assert (
        found.flags == (f"DC of {20 * np.log10(abs(dc)):.1f} dBFS taken out",)
        or abs(found.dc_dbfs - 20 * np.log10(abs(dc))) < 0.2
    )


def test_the_dc_of_one_channel_is_its_own() -> None:
    found = faults(notes(), notes(330.0) + 0.03)
    assert found.conditioning.dc == (0.0, pytest.approx(0.03, rel=0.02))
    assert found.conditioning.channels == ChannelUse.AS_IS


def test_dc_under_a_loud_bass_and_under_kicks_is_found() -> None:
    bass = 0.4 * np.sin(2 * np.pi * 41.0 * T) * (0.2 + 0.8 * (T % 0.6 < 0.4))
    assert faults(bass + 0.02).conditioning.dc == (pytest.approx(0.02, rel=0.1),)
    assert faults(kicks() + 0.02).conditioning.dc == (pytest.approx(0.02, rel=0.1),)


@pytest.mark.parametrize(
    "audio",
    [
        notes(),
        kicks(),
        kicks()[: RATE // 3],
        np.abs(RNG.standard_normal(RATE // 4)) * np.exp(-T[: RATE // 4] / 0.03),
        0.5 * np.exp(-T[:RATE] / 0.1),  # a pulse that never swings back
        0.3 * RNG.standard_normal(RATE * SECONDS),
        0.4 * np.sin(2 * np.pi * 30.0 * T),
        np.where(T % 1.0 < 0.1, 0.5 * np.exp(-(T % 1.0) / 0.03), 0.0),
        np.zeros(RATE),
        np.zeros(0),
    ],
    ids=["notes", "kicks", "kick", "burst", "pulse", "noise", "low", "clicks", "silence", "empty"],
)
def test_what_has_no_dc_is_left_alone(audio: npt.NDArray[np.float64]) -> None:
    assert faults(audio).conditioning.neutral


@pytest.mark.parametrize(
    "dc",
    [
        np.where(T < 5.0, 0.0, 0.05),
        0.05 * np.sin(2 * np.pi * 0.1 * T),
        0.02 + 0.004 * T,
    ],
    ids=["half", "drift", "rising"],
)
def test_dc_that_is_not_constant_gets_a_high_pass(dc: npt.NDArray[np.float64]) -> None:
    found = faults(notes() + dc)
    assert found.conditioning.dc_highpass_hz == HIGHPASS_HZ
    assert found.conditioning.dc == ()


def test_dc_beside_digital_silence_is_not_put_into_the_silence() -> None:
    found = faults(np.where(T < 4.0, 0.0, notes() + 0.05))
    assert found.conditioning.dc_highpass_hz == HIGHPASS_HZ


def test_one_channel_alone() -> None:
    for hiss in (0.0, 1e-4):
        other = hiss * RNG.standard_normal(T.size)
        left, right = faults(notes(), other), faults(other, notes())
        assert left.channel_fault is right.channel_fault is ChannelFault.ONE_SIDED
        assert left.conditioning.channels == ChannelUse.LEFT
        assert right.conditioning.channels == ChannelUse.RIGHT
    # A dead channel that holds nothing but DC is dead.
    assert faults(notes(), np.full(T.size, 0.02)).conditioning.channels == ChannelUse.LEFT


def test_the_same_on_both_channels() -> None:
    voice = notes()
    found = faults(voice, voice)
    assert found.channel_fault is ChannelFault.DUAL_MONO
    assert found.conditioning.channels == ChannelUse.MONO
    # Panned by its maker, and a narrow recording: their image is kept.
    assert faults(voice, 0.5 * voice).conditioning.neutral
    assert faults(voice, voice + 0.03 * notes(333.0)).conditioning.neutral


def test_a_channel_upside_down() -> None:
    voice, room = notes(), notes(333.0)
    whole = faults(voice, -voice)
    assert whole.channel_fault is ChannelFault.INVERTED
    assert whole.conditioning.channels == ChannelUse.LEFT
    stereo = faults(voice + 0.3 * room, -(voice - 0.3 * room))
    assert stereo.channel_fault is ChannelFault.INVERTED
    assert stereo.conditioning.channels == ChannelUse.INVERT_RIGHT
    # Wide is not inverted.
    assert faults(voice, room).conditioning.neutral
    assert faults(voice + room, -0.5 * voice + room).conditioning.neutral


def test_mid_and_side_need_name_and_signal() -> None:
    mid, side = notes(), 0.4 * notes(333.0)
    assert faults(mid, side).conditioning.neutral
    found = faults(mid, side, mid_side_name=True)
    assert found.channel_fault is ChannelFault.MID_SIDE
    assert found.conditioning.channels == ChannelUse.MID_SIDE
    left, right = mid + side, mid - side
    assert faults(left, right, mid_side_name=True).conditioning.neutral
    for name in ("Room MS.wav", "OH M-S.wav", "Drums/Room (mid side).wav", "Amb_M_S.wav"):
        assert names_mid_side(name), name
    for name in ("Mess.wav", "Synths.wav", "MSG.wav", "Kick.wav", "Ms Smith vocal.wav"):
        assert not names_mid_side(name), name


def test_what_the_user_says_of_the_channels_wins() -> None:
    voice = notes()
    found = faults(voice, voice, use=ChannelUse.AS_IS)
    assert (found.channel_fault, found.conditioning.neutral) == (None, True)
    assert faults(voice + 0.1, voice, use=ChannelUse.SWAP).conditioning.channels == "swap"


def test_a_record_is_read_back() -> None:
    found = faults(notes() + 0.1, np.zeros(T.size))
    assert FileFaults.from_record(found.to_record()) == found


def test_moments_are_those_of_any_blocks() -> None:
    audio = np.stack([notes(), notes(333.0)]).astype(np.float32)
    analyser = TrackAnalyser(sample_rate=RATE, channels=2, frames=audio.shape[1])
    analyser.process(audio)
    meter = LevelMeter(sample_rate=RATE, channels=2)
    for start in range(0, audio.shape[1], 777):
        meter.process(audio[:, start : start + 777])
    assert np.array_equal(analyser.moments().sums, meter.moments().sums)
    np.testing.assert_allclose(meter.moments().sums[0].sum(), audio[0].sum(dtype=np.float64))


@pytest.mark.parametrize("db", [-14.0, -20.0])
def test_steady_noise_on_the_other_channel_is_no_stereo(db: float) -> None:
    voice = notes()
    level = 10 ** (db / 20) * np.sqrt((voice**2).mean())
    hum = level * np.sqrt(2) * np.sin(2 * np.pi * 50 * T)
    for noise in (level * RNG.standard_normal(T.size), hum):
        found = faults(noise, voice)
        assert found.channel_fault == ChannelFault.ONE_SIDED
        assert found.conditioning.channels == ChannelUse.RIGHT
        assert faults(voice, noise).conditioning.channels == ChannelUse.LEFT
    # What comes and goes is played: a delay, a room, a quieter microphone.
    echo = 10 ** (db / 20) * np.roll(voice, RATE // 3)
    assert faults(voice, echo).conditioning.channels == ChannelUse.AS_IS
    assert faults(voice, 10 ** (db / 20) * voice).conditioning.channels == ChannelUse.AS_IS
