"""Recordings whose headers are wrong, absent or several are read to their ends, in their place."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.audio.formats import foreign as foreign_audio
from pipeline.audio.formats.mpeg_frames import mpeg_header
from pipeline.audio.info import AudioInfo
from pipeline.audio.stream import probe, read
from pipeline.errors import InputError
from pipeline.session.discovery import LeftOut, find_session

RATE = 44_100
SECONDS = 4
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def song(seed: int = 0, seconds: float = SECONDS) -> np.ndarray:
    """Return bursts of a tone and noise: something that has a place in time."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    bursts = np.exp(-8.0 * (t % 0.37)) * np.sin(2 * np.pi * 330 * t)
    return (0.4 * bursts + 0.02 * rng.standard_normal(t.size)).astype(np.float32)


def wav(path: Path, audio: np.ndarray, **options: str) -> Path:
    soundfile.write(path, audio.T, RATE, **options)
    return path


def lag(audio: np.ndarray, original: np.ndarray) -> int:
    """Return by how many samples one channel comes after the original."""
    size = 2 * max(audio.shape[-1], original.size)
    product = np.fft.rfft(audio[0], size) * np.conj(np.fft.rfft(original, size))
    best = int(np.argmax(np.fft.irfft(product)))
    return best - size if best > size // 2 else best


def sizes(path: Path, *, riff: int, data: int) -> Path:
    """Overwrite the two sizes of a WAV file."""
    raw = bytearray(path.read_bytes())
    at = raw.index(b"data") + 4
    raw[4:8], raw[at : at + 4] = struct.pack("<I", riff), struct.pack("<I", data)
    path.write_bytes(raw)
    return path


HELD = 2 * RATE * SECONDS


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
@pytest.mark.parametrize(
    ("share", "more", "reason"),
    [
        (0.2, 0, "tells of less than the file holds"),
        (0.0, 0, "leaves its length open"),
        (1.0, 44, "promises 44 bytes more than"),
        (2.0, 0, "promises exactly twice as much as"),
        (0.0, 0x7FFFFF00, "leaves its length open"),
        (0.0, 0x7FFFFFFF, "leaves its length open"),
        (0.0, 0xFFFFFFFF - 36, "leaves its length open"),
    ],
)
def test_a_wav_is_read_to_its_end_whatever_its_header_says(
    tmp_path: Path, share: float, more: int, reason: str, subtype: str
) -> None:
    audio = song()
    path = wav(tmp_path / "vocal.wav", audio, subtype=subtype)
    whole = read(path)
    assert probe(path).remarks == ()
    bytes_a_sample = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4, "ULAW": 1}[subtype]
    promised = round(share * audio.size) * bytes_a_sample + more
    info = probe(sizes(path, riff=min(promised + 36, 0xFFFFFFFF), data=promised))
    assert info.frames == audio.size
    assert info.incomplete is None
    assert len(info.remarks) == 1
    assert reason in info.remarks[0]
    assert "4.000 s" in info.remarks[0]
    assert np.array_equal(read(path), whole)


@pytest.mark.parametrize("data", [0, HELD // 4])
def test_chunks_behind_the_audio_stay_out_of_it(tmp_path: Path, data: int) -> None:
    path = wav(tmp_path / "vocal.wav", song(), subtype="PCM_16")
    note = b"LIST" + struct.pack("<I", 30) + b"INFOISFT" + struct.pack("<I", 18) + bytes(18)
    more = b"iXML" + struct.pack("<I", 6_001) + b"<" * 6_001 + b"\0"
    path.write_bytes(path.read_bytes() + note + more)
    info = probe(sizes(path, riff=36 + data, data=data))
    assert info.frames == SECONDS * RATE
    assert len(info.remarks) == 1


def test_chunks_behind_an_exact_length_are_no_reason_to_say_anything(tmp_path: Path) -> None:
    path = wav(tmp_path / "vocal.wav", song(), subtype="PCM_16")
    path.write_bytes(path.read_bytes() + b"abcd" + struct.pack("<I", 50_000) + bytes(50_000))
    info = probe(path)
    assert (info.frames, info.remarks) == (SECONDS * RATE, ())


@pytest.mark.parametrize("kind", ["noise", "text", "zeros"])
def test_what_is_no_audio_behind_a_length_is_not_played(tmp_path: Path, kind: str) -> None:
    path = wav(tmp_path / "vocal.wav", song(), subtype="PCM_16")
    behind = {
        "noise": np.random.default_rng(1).bytes(90_000),
        "text": b"1. Lorem ipsum dolor sit amet\n" * 3_000,
        "zeros": bytes(90_000),
    }[kind]
    path.write_bytes(path.read_bytes() + behind)
    info = probe(path)
    assert info.frames == SECONDS * RATE
    assert ("no audio" in "".join(info.remarks)) == (kind != "zeros")


def test_a_size_that_wrapped_past_4_gib_is_no_length(tmp_path: Path) -> None:
    # A sparse file of 4 GiB and 2 s, of which the header counts 2 s; with sound where it is looked
    # for, since a hole is silence.
    path = wav(tmp_path / "concert.wav", song(seconds=2), subtype="PCM_16")
    start, length = path.stat().st_size, 2**32 + 4 * RATE
    sizes(path, riff=36 + 4 * RATE, data=4 * RATE)
    tone = (8_000 * np.sin(np.arange(2048) / 20)).astype("<i2").tobytes()
    with path.open("r+b") as file:
        file.truncate(44 + length)
        for frame in np.linspace(0, (44 + length - start) // 2 - 2048, 16).astype(int):
            file.seek(start + 2 * int(frame))
            file.write(tone)
    info = probe(path)
    assert info.frames == length // 2
    assert np.abs(read(path, start_s=(length // 2 - 2_048) / RATE)).max() > 0.2


@pytest.mark.parametrize(("kind", "suffix"), [("AIFF", "aiff"), ("CAF", "caf"), ("W64", "w64")])
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_other_headers_are_wrong_too(tmp_path: Path, kind: str, suffix: str, share: float) -> None:
    path = wav(tmp_path / f"vocal.{suffix}", song(), format=kind, subtype="PCM_16")
    whole = read(path)
    raw = bytearray(path.read_bytes())
    length = round(share * HELD)
    if kind == "AIFF":
        at = raw.index(b"SSND") + 4
        raw[at : at + 4] = struct.pack(">I", length + 8 if length else 0)
        at = raw.index(b"COMM") + 10
        raw[at : at + 4] = struct.pack(">I", length // 2)
        raw[4:8] = struct.pack(">I", length + 46)
    elif kind == "CAF":
        at = raw.index(b"data") + 4
        raw[at : at + 8] = struct.pack(">q", length + 4)
    else:
        at = raw.index(b"data\xf3\xac") + 16
        raw[at : at + 8] = struct.pack("<Q", length + 24 if length else 0)
    path.write_bytes(raw)
    info = probe(path)
    assert info.frames == SECONDS * RATE
    assert len(info.remarks) == 1
    assert np.array_equal(read(path), whole)


def piped(container: str, audio: np.ndarray, tmp_path: Path, *options: str) -> bytes:
    source = wav(tmp_path / "source.wav", audio, subtype="PCM_16")
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", source, "-f", container, *options, "-"]
    return subprocess.run(command, capture_output=True, check=True).stdout


@needs_ffmpeg
@pytest.mark.parametrize(
    ("container", "options"),
    [("wav", ()), ("wav", ("-rf64", "always")), ("w64", ()), ("caf", ()), ("flac", ())],
)
def test_what_was_written_to_a_pipe_is_whole(
    tmp_path: Path, container: str, options: tuple[str, ...]
) -> None:
    audio = song()
    path = tmp_path / "piped"
    path.write_bytes(piped(container, audio, tmp_path, *options))
    info = probe(path)
    assert info.frames == audio.size
    assert np.abs(read(path) - audio).max() <= 2**-15
    # A CAF may leave its length open by the book.
    assert len(info.remarks) == (container != "caf")


@pytest.mark.parametrize("blocks", [1, 7])
def test_a_flac_tells_its_length_by_its_last_frame(tmp_path: Path, blocks: int) -> None:
    audio = song()[: 4096 * blocks + 17]
    path = wav(tmp_path / "piped.flac", audio, subtype="PCM_16")
    whole = read(path)
    raw = bytearray(path.read_bytes())
    raw[21] &= 0xF0  # the 36 bits of STREAMINFO's total samples
    raw[22:26] = bytes(4)
    path.write_bytes(raw)
    info = probe(path)
    assert (info.frames, info.incomplete) == (audio.size, None)
    assert "does not tell how long it is" in info.remarks[0]
    assert np.array_equal(read(path), whole)
    path.write_bytes(raw + b"TAG" + bytes(125))
    assert probe(path).frames == audio.size
    path.write_bytes(raw[:-5])
    info = probe(path)
    assert info.frames == 4096 * blocks
    assert "its last FLAC frame is not whole" in (info.incomplete or "")
    assert np.array_equal(read(path), whole[:, : info.frames])
    path.write_bytes(raw[:60])
    with pytest.raises(InputError):
        read(path)


def mp3(path: Path, audio: np.ndarray, **options: str | float) -> bytes:
    with soundfile.SoundFile(
        path, "w", RATE, 1, format="MP3", subtype="MPEG_LAYER_III", **options
    ) as file:
        file.write(audio)
    return path.read_bytes()


def untagged(raw: bytes) -> bytes:
    """Return an MP3 without the frame that counts its frames."""
    header = mpeg_header(raw[:4])
    assert header is not None
    assert b"Info" in raw[: header.frame_bytes] or b"Xing" in raw[: header.frame_bytes]
    return raw[header.frame_bytes :]


@pytest.mark.parametrize("loud_first", [True, False])
def test_an_mp3_without_a_header_is_read_to_its_end(tmp_path: Path, loud_first: bool) -> None:
    audio = song()
    audio[audio.size // 2 :] *= 0.001 if loud_first else 1.0
    audio[: audio.size // 2] *= 1.0 if loud_first else 0.001
    path = tmp_path / "vocal.mp3"
    raw = mp3(path, audio, bitrate_mode="VARIABLE", compression_level=0.2)
    tagged = read(path)
    assert lag(tagged, audio) == 0
    path.write_bytes(untagged(raw))
    info = probe(path)
    assert 0 <= info.frames - audio.size < 1105 + 2 * 1152
    bare = read(path)
    assert lag(bare, audio) == 1105
    assert info.latency is not None
    assert "about 25 ms late" in info.latency
    kept = min(tagged.shape[1], bare.shape[1] - 1105)
    assert np.abs(bare[:, 1105 : 1105 + kept] - tagged[:, :kept]).max() < 1e-3


def test_a_header_that_counts_no_frame_is_not_believed(tmp_path: Path) -> None:
    audio = song()
    path = tmp_path / "vocal.mp3"
    raw = bytearray(mp3(path, audio, bitrate_mode="VARIABLE", compression_level=0.4))
    whole = read(path)
    at = max(raw.find(b"Xing"), raw.find(b"Info"))
    raw[at + 8 : at + 12] = bytes(4)
    path.write_bytes(raw)
    info = probe(path)
    assert info.frames == audio.size
    assert "counts 0.000 s" in info.remarks[0]
    assert np.array_equal(read(path), whole)


def test_joined_mp3s_are_read_one_behind_the_other(tmp_path: Path) -> None:
    one, two = song(1), song(2, seconds=2)
    path = tmp_path / "both.mp3"
    first, second = mp3(path, one), mp3(path, two, bitrate_mode="VARIABLE", compression_level=0.3)
    tag = b"ID3\4\0\0\0\0\1\0" + bytes(128)
    path.write_bytes(tag + first + b"TAG" + bytes(125) + tag + second)
    info = probe(path)
    assert info.frames == one.size + two.size
    assert "2 MPEG recordings" in info.remarks[0]
    assert lag(read(path), np.concatenate([one, two])) == 0
    # Over the seam, in pieces: as at once.
    seam = one.size / RATE
    part = read(path, start_s=seam - 0.1, duration_s=0.2)
    at = round((seam - 0.1) * RATE)
    assert np.abs(part - read(path)[:, at : at + part.shape[1]]).max() < 1e-6


def test_bytes_between_frames_are_told(tmp_path: Path) -> None:
    audio = song()
    path = tmp_path / "vocal.mp3"
    raw = mp3(path, audio)
    whole = read(path)
    at = len(raw) - len(untagged(raw))
    while at < len(raw) // 2:
        header = mpeg_header(raw[at : at + 4])
        assert header is not None
        at += header.frame_bytes
    path.write_bytes(raw[:at] + b"junk" * 900 + raw[at:])
    info = probe(path)
    assert info.frames == audio.size
    assert "3,600 bytes between its frames" in info.remarks[0]
    assert np.abs(read(path) - whole).max() < 1e-6


@needs_ffmpeg
def test_tags_behind_the_frames_are_no_strange_bytes(tmp_path: Path) -> None:
    path = tmp_path / "vocal.mp3"
    plain = mp3(path, song(seconds=1))
    whole = read(path)
    item = b"\5\0\0\0\0\0\0\0MP3GAIN_MINMAX\0" + b"1,200"
    size = struct.pack("<II", len(item) + 32, 1)
    ends = [
        b"APETAGEX" + struct.pack("<I", 2000) + size + flags + bytes(8)
        for flags in (b"\0\0\0\xa0", b"\0\0\0\x80")
    ]
    lyrics = b"LYRICSBEGIN" + b"la " * 100 + b"000311LYRICS200"
    id3v1 = b"TAG" + bytes(125)
    for tags in (ends[0] + item + ends[1] + id3v1, item + ends[1] + id3v1, lyrics + id3v1):
        path.write_bytes(plain + tags)
        assert probe(path).remarks == ()
        assert np.array_equal(read(path), whole)


@pytest.mark.parametrize(("codec", "late"), [("libmp3lame", 1105), ("mp2", 481)])
def test_mpeg_audio_in_a_wav_is_read(tmp_path: Path, codec: str, late: int) -> None:
    audio = song()
    path = tmp_path / "vocal.wav"
    source = wav(tmp_path / "source.wav", audio)
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-i", source, "-c:a", codec, path], check=True
    )
    info = probe(path)
    assert info.incomplete is None
    assert 0 <= info.frames - audio.size < late + 2 * 1152
    assert lag(read(path), audio) == late


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_chained_ogg_streams_are_read_one_behind_the_other(tmp_path: Path, subtype: str) -> None:
    rate = 48_000
    rng = np.random.default_rng(0)
    path = tmp_path / "both.ogg"
    raws, parts = [], []
    for seconds in (2, 1, 3):
        audio = 0.1 * rng.standard_normal(rate * seconds)
        soundfile.write(path, audio, rate, format="OGG", subtype=subtype)
        raws.append(path.read_bytes())
        parts.append(read(path))
    path.write_bytes(b"".join(raws))
    info = probe(path)
    assert info.frames == 6 * rate
    assert "3 Ogg streams" in info.remarks[0]
    assert np.array_equal(read(path), np.concatenate(parts, axis=1))


def test_joined_streams_of_unlike_rates_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "both.ogg"
    raws = []
    for rate in (44_100, 48_000):
        soundfile.write(path, np.zeros(rate), rate, format="OGG", subtype="VORBIS")
        raws.append(path.read_bytes())
    path.write_bytes(b"".join(raws))
    with pytest.raises(InputError, match=r"44100 Hz and then 1 at 48000 Hz\): split it"):
        probe(path)


def test_an_ogg_without_an_end_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "vocal.ogg"
    audio = song()
    soundfile.write(path, audio, RATE, format="OGG", subtype="VORBIS")
    raw = path.read_bytes()
    whole = read(path)
    last = raw.rindex(b"OggS")
    path.write_bytes(raw[:last])
    info = probe(path)
    assert info.incomplete is None
    assert "has no end page" in info.remarks[0]
    assert np.array_equal(read(path), whole[:, : info.frames])
    assert info.frames > audio.size - RATE
    path.write_bytes(raw[: last - 100])
    assert "is not whole" in (probe(path).incomplete or "")


@pytest.fixture(params=["ffmpeg", "av"])
def tool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if name == "av":
        pytest.importorskip("av")
    foreign_audio.foreign_stream.cache_clear()
    monkeypatch.setattr(foreign_audio, "reader", lambda: name)
    return name


@needs_ffmpeg
@pytest.mark.parametrize(
    ("suffix", "options", "late", "exact"),
    [
        (".m4a", ["-c:a", "aac"], 0, False),
        (".m4a", ["-c:a", "alac"], 0, True),
        (".mov", ["-c:a", "aac"], 0, False),
        (".3gp", ["-c:a", "aac"], 0, False),
        (".mka", ["-c:a", "flac"], 0, True),
        (".wv", ["-c:a", "wavpack"], 0, True),
        (".tta", ["-c:a", "tta"], 0, True),
        (".aac", ["-c:a", "aac"], 1024, False),
    ],
)
def test_what_libsndfile_does_not_read_is_read(
    tmp_path: Path, tool: str, suffix: str, options: list[str], late: int, exact: bool
) -> None:
    audio = song(seconds=2)
    source = wav(tmp_path / "source.wav", audio, subtype="PCM_16")
    # Names that a command line could take for something else.
    path = tmp_path / f"-i 50%: vocal?{suffix}"
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-i", source, *options, f"file:{path}"], check=True
    )
    plain = path.rename(path.with_suffix(""))
    info = probe(plain)
    assert info.incomplete is None
    whole = read(plain)
    assert whole.shape == (1, info.frames)
    assert 0 <= info.frames - audio.size <= late + 1024
    assert lag(whole, audio) == late
    assert (info.latency is not None) == (late > 0)
    if exact:
        assert np.array_equal(whole[0], read(source)[0])
    part = read(plain, start_s=1.0, duration_s=0.5)
    assert np.array_equal(part, whole[:, RATE : RATE + RATE // 2])


@needs_ffmpeg
def test_sound_that_begins_after_its_pictures_keeps_its_place(tmp_path: Path, tool: str) -> None:
    audio = song(seconds=2)
    source = wav(tmp_path / "source.wav", audio)
    path = tmp_path / "take.mkv"
    subprocess.run(
        [
            "ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc=d=3:s=32x32",
            "-itsoffset", "0.5", "-i", source, "-c:v", "mpeg4", "-c:a", "flac", path,
        ],
        check=True,
    )  # fmt: skip
    assert abs(lag(read(path), audio) - RATE // 2) <= RATE // 500
    assert "0.500 s after its pictures" in "".join(probe(path).remarks)


@needs_ffmpeg
def test_pictures_without_sound_are_no_track_and_no_fault(tmp_path: Path, tool: str) -> None:
    wav(tmp_path / "vocal.wav", song(seconds=1))
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc=d=1:s=32x32",
         "-c:v", "mpeg4", tmp_path / "take.mov"],
        check=True,
    )  # fmt: skip
    found = find_session(tmp_path)
    assert [track.name for track in found.tracks] == ["vocal.wav"]
    assert found.left_out == (LeftOut("take.mov", "holds pictures and no sound"),)
    assert found.bad_tracks == ()


@needs_ffmpeg
def test_a_film_cut_short_is_told(tmp_path: Path, tool: str) -> None:
    source = wav(tmp_path / "source.wav", song())
    path = tmp_path / "take.m4a"
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-i", source, "-movflags", "+faststart", path],
        check=True,
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "ends early: it holds" in (probe(path).incomplete or "")


@needs_ffmpeg
def test_without_a_decoder_the_remedy_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = wav(tmp_path / "source.wav", song(seconds=1))
    path = tmp_path / "vocal.m4a"
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-i", source, path], check=True)
    monkeypatch.setattr("pipeline.audio.info.reader", lambda: None)
    with pytest.raises(InputError, match="is MPEG-4 audio, which FFmpeg is needed for: install"):
        probe(path)


@needs_ffmpeg
def test_a_list_of_other_files_is_not_followed(tmp_path: Path, tool: str) -> None:
    secret = wav(tmp_path / "secret.wav", song(seconds=1))
    path = tmp_path / "vocal.m4a"
    path.write_text(f"#EXTM3U\n#EXTINF:1\nfile:{secret}\n")
    with pytest.raises(InputError, match="is not readable audio"):
        probe(path)


@pytest.mark.parametrize("name", ["vocal.raw", "VOCAL.RAW", "vocal.vox"])
def test_a_name_for_samples_without_header_does_not_hide_one(tmp_path: Path, name: str) -> None:
    whole = probe(wav(tmp_path / "vocal.wav", song(seconds=1)))
    info = probe((tmp_path / "vocal.wav").rename(tmp_path / name))
    assert (info.format, info.frames) == (whole.format, whole.frames)


@pytest.mark.parametrize("name", ["vocal.raw", "vocal.au", "vocal.snd", "vocal.vox", "vocal.gsm"])
def test_no_name_makes_sound_of_what_is_none(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("the third take was the good one\n" * 400)
    with pytest.raises(InputError, match="is not readable audio"):
        probe(path)


def test_a_whole_file_has_no_remark(tmp_path: Path) -> None:
    info: AudioInfo = probe(wav(tmp_path / "vocal.wav", song(seconds=1)))
    assert (info.remarks, info.latency, info.incomplete) == ((), None, None)
