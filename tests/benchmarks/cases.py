"""Sessions with one fault each, through the command: what was expected and what came.

    python tests/benchmarks/cases.py FOLDER [--cases ../shared/cases] [--only TEXT]

Each row makes a small session in FOLDER, runs ``stemwright`` on it as a user would and measures
what came: lengths, places in time, levels, pans, spectra, in the delivered files where it can.
With ``--cases`` the scripts of that folder make some of the sessions; the others are made here.
Some need ffmpeg. The last line counts; the exit status is 1 where a row does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.signal
import soundfile

COMMAND = str(Path(sys.executable).with_name("stemwright"))
RATE, SECONDS = 44100, 10
LIMIT_S = 240

Audio = npt.NDArray[np.float64]


@dataclass
class Mixed:
    """What one run of the command left."""

    folder: Path
    status: int
    text: str
    plan: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def heard(self) -> list[str]:
        """Names of the tracks that are in the mix."""
        return [t["path"] for t in self.plan.get("tracks", []) if not t["mute"]]

    def track(self, name: str) -> dict[str, Any]:
        """Return plan and results of a track."""
        (planned,) = (t for t in self.plan["tracks"] if t["path"] == name)
        (row,) = (t for t in self.results["tracks"] if t["track"] == name)
        return {**row, **planned}

    def seconds(self, name: str) -> float:
        """Return how much of a file was used."""
        return float(self.track(name)["duration_s"])

    def audio(self, file: str = "mix.wav") -> tuple[Audio, int]:
        """Return samples ``(channels, frames)`` and rate of a file of the mix."""
        audio, rate = soundfile.read(self.folder / file, always_2d=True)
        return audio.T, rate

    def says(self, *words: str) -> bool:
        """Whether screen and results speak of each word, in any case."""
        text = (self.text + json.dumps(self.results, ensure_ascii=False)).lower()
        return all(word.lower() in text for word in words)


Row = tuple[str, str, str, bool]


def mix(place: Path, *arguments: object, name: str = "out", session: str = "session") -> Mixed:
    """Mix a session of a place through the command."""
    out = place / name
    shutil.rmtree(out, ignore_errors=True)
    command = [COMMAND, "mix", str(place / session), "-o", str(out), "--engine", "local"]
    environment = os.environ | {"STEMWRIGHT_STORE": str(place.parent / "store"), "COLUMNS": "400"}
    try:
        run = subprocess.run(
            [*command, *map(str, arguments)],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=LIMIT_S,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return Mixed(out, 124, "took too long")
    mixed = Mixed(out, run.returncode, run.stdout + run.stderr)
    if (out / "plan.json").exists():
        mixed.plan = json.loads((out / "plan.json").read_text())
        mixed.results = json.loads((out / "results.json").read_text())
    return mixed


def hits(hz: float, decay_s: float, every_s: float, *, noise: float = 0.0, seed: int = 0) -> Audio:
    """Return struck sounds, as a drum makes them."""
    rng, out = np.random.default_rng(seed), np.zeros(RATE * SECONDS)
    size = int(0.3 * RATE)
    time = np.arange(size) / RATE
    for start in range(0, out.size - size, int(every_s * RATE)):
        tone = (1.0 - noise) * np.sin(2.0 * np.pi * hz * time)
        out[start : start + size] += (tone + noise * rng.standard_normal(size)) * np.exp(
            -time / decay_s
        )
    return 0.5 * out / np.abs(out).max()


def notes(hz: float, *, seed: int, length_s: float = 0.7, harmonics: int = 16) -> Audio:
    """Return a melody with vibrato."""
    rng, out = np.random.default_rng(seed), np.zeros(RATE * SECONDS)
    size = int(length_s * RATE)
    time = np.arange(size) / RATE
    for start in range(0, out.size - size, size):
        pitch = hz * 2.0 ** (rng.integers(0, 8) / 12.0) * (1 + 0.006 * np.sin(34.0 * time))
        phase = 2.0 * np.pi * np.cumsum(pitch) / RATE
        tone = sum(np.sin(h * phase) / h for h in range(1, harmonics))
        out[start : start + size] += (
            tone * np.minimum(1, time / 0.02) * np.minimum(1, time[::-1] / 0.1)
        )
    return 0.4 * out / np.abs(out).max()


def band(place: Path) -> dict[str, Path]:
    """Write a kick, a bass, a guitar and a voice; return their files by a word each."""
    sounds = {
        "Kick": hits(55, 0.1, 0.55),
        "Bass": notes(58, seed=31, length_s=0.5, harmonics=8),
        "Guitar": notes(208, seed=32, length_s=0.35),
        "Lead Vox": notes(247, seed=33, length_s=0.8, harmonics=24),
    }
    return {name: write(place, f"{name}.wav", audio) for name, audio in sounds.items()}


def write(place: Path, name: str, audio: Audio, *, rate: int = RATE, **how: Any) -> Path:
    """Write a track of a session."""
    path = place / "session" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.atleast_2d(audio).T, rate, **how)
    return path


def ffmpeg(source: Path, target: Path, *how: str) -> Path:
    """Convert a file."""
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(source), *how, str(target)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return target


def ends_well(mixed: Mixed) -> bool:
    """Whether a run ended with a whole mix."""
    return mixed.status == 0 and bool(mixed.results)


def level_db(audio: Audio, rate: int, low_hz: float, high_hz: float) -> float:
    """Return the mean power of a mono sum in a band, in dB."""
    frequency, density = scipy.signal.welch(audio.mean(axis=0), rate, nperseg=8192)
    inside = (frequency >= low_hz) & (frequency <= high_hz)
    return float(10.0 * np.log10(density[inside].sum() + 1e-20))


def balance_db(audio: Audio) -> float:
    """Return how much louder the right channel is."""
    left, right = np.mean(np.square(audio), axis=1)
    return float(10.0 * np.log10((right + 1e-12) / (left + 1e-12)))


def side_db(audio: Audio) -> float:
    """Return side over mid."""
    mid, side = audio[0] + audio[1], audio[0] - audio[1]
    return float(10.0 * np.log10((np.mean(side**2) + 1e-12) / (np.mean(mid**2) + 1e-12)))


def short(text: str) -> str:
    """Return what a run said last, in a line."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return re.sub(r"\s+", " ", " / ".join(lines[-3:]))[:200]


def used(mixed: Mixed, names: list[str], seconds: float = SECONDS) -> tuple[str, bool]:
    """Return how much of files was used, and whether it is all."""
    if not ends_well(mixed):
        return short(mixed.text), False
    lengths = {n: mixed.seconds(n) if n in mixed.heard else 0.0 for n in names}
    came = ", ".join(f"{name} {length:.2f} s" for name, length in lengths.items())
    return came, all(abs(length - seconds) < 0.06 for length in lengths.values())


# Of the folder of cases ------------------------------------------------------------------------


def overdub(place: Path) -> Iterator[Row]:
    """A vocal stamped 100 s later, by the time of day."""
    mixed = mix(place)
    lasts = mixed.audio()[0].shape[1] / RATE if ends_well(mixed) else 0.0
    yield (
        "overdub stamped by the clock",
        "starts with the band, and it says so",
        (f"mix of {lasts:.1f} s; stamps spoken of: {mixed.says('stamp')}"),
        ends_well(mixed) and lasts < 15.0 and mixed.says("stamp"),
    )


def one_unstamped(place: Path) -> Iterator[Row]:
    """One track without a stamp among stamped ones."""
    mixed = mix(place)
    start = mixed.track("Lead Vox.wav")["offset_s"] if ends_well(mixed) else None
    yield "one track without a stamp", "the vocal stays at 3 s", f"vocal at {start} s", start == 3.0


def one_sided(place: Path) -> Iterator[Row]:
    """A voice on the left channel alone."""
    mixed = mix(place)
    leaning = balance_db(mixed.audio("stems/lead_vocals.wav")[0]) if ends_well(mixed) else 99.0
    yield "voice on one channel", "in the centre", f"{leaning:+.2f} dB", abs(leaning) < 0.2


def utilities(place: Path) -> Iterator[Row]:
    """Click, talkback and timecode."""
    mixed = mix(place)
    there = [n for n in mixed.heard if n in {"Click.wav", "Talkback.wav", "SMPTE LTC.wav"}]
    told = mixed.says("click") and mixed.says("talkback") and mixed.says("ltc")
    yield (
        "click, talkback, timecode",
        "left out, and said",
        f"mixed {there}, said {told}",
        (ends_well(mixed) and not there and told),
    )


def beat(place: Path) -> Iterator[Row]:
    """A beat whose name is a bounce's."""
    for name in ("Instrumental Mix", "2track", "Beatless Master", "Instrumental (Mastered)"):
        (file,) = (p for p in (place / "session").iterdir() if p.stem not in {"Lead Vox", "Adlibs"})
        file.rename(place / "session" / f"{name}.wav")
        mixed = mix(place)
        yield f"beat named {name!r}", "is mixed", str(mixed.heard), f"{name}.wav" in mixed.heard


def m4a(place: Path) -> Iterator[Row]:
    """A vocal as AAC."""
    mixed = mix(place)
    yield "vocal as .m4a", "10 s of it are mixed", *used(mixed, ["Lead Vox.m4a"])


def submixes(place: Path) -> Iterator[Row]:
    """Group busses and rough mixes among the tracks."""
    mixed = mix(place)
    sums = {"Drums.wav", "Neon Lights.wav", "Stereo Out.wav", "Main Out.wav"}
    there = sorted(sums & set(mixed.heard))
    yield (
        "sums among the tracks",
        "left out, and the six tracks kept",
        (f"mixed {there}; {len(mixed.heard)} tracks"),
        ends_well(mixed) and not there and len(mixed.heard) == 6,
    )


def direct_current(place: Path) -> Iterator[Row]:
    """DC of 0.1 and 0.02 on a vocal, against none."""
    plain = place.with_name(place.name + "-plain")
    shutil.rmtree(plain, ignore_errors=True)
    shutil.copytree(place, plain)
    voice, _ = soundfile.read(place / "session" / "Lead Vox.wav")
    write(plain, "Lead Vox.wav", voice - 0.1)
    without = mix(plain)
    for dc in (0.1, 0.02):
        write(place, "Lead Vox.wav", voice - 0.1 + dc)
        mixed = mix(place)
        if not (ends_well(mixed) and ends_well(without)):
            yield f"DC of {dc}", "as without it", short(mixed.text), False
            continue
        a, b = mixed.audio()[0], without.audio()[0]
        apart = 10.0 * np.log10(np.mean(np.square(a - b)) / np.mean(np.square(b)) + 1e-20)
        yield f"DC of {dc}", "the mix as without it", f"residual {apart:.1f} dB", apart < -35.0


def bandlimited(place: Path) -> Iterator[Row]:
    """References that lack treble: it lies between the balance's and the whole reference's."""
    balanced = mix(place, name="balanced")
    for quality in ("fast", "best"):
        good = mix(place, "-r", place / "ref.wav", "--quality", quality, name="good")
        for name in ("ref22k.wav", "ref8k.wav", "ref64.mp3", "ref128.mp3"):
            mixed = mix(place, "-r", place / name, "--quality", quality)
            if not (ends_well(balanced) and ends_well(good) and ends_well(mixed)):
                yield f"{name}, {quality}", "its treble is not followed", short(mixed.text), False
                continue
            outside, gap = 0.0, 0.0
            for band in ((4000.0, 8000.0), (8000.0, 16000.0)):
                treble, *ends = (_over_mids_db(m, *band) for m in (mixed, balanced, good))
                outside = max(outside, min(ends) - treble, treble - max(ends))
                gap = max(gap, abs(treble - ends[1]))
            yield (
                f"{name}, {quality}",
                "treble over mids within 3 dB of what lies between balance and good reference",
                f"{outside:.1f} dB outside, {gap:.1f} dB from the good reference's",
                outside < 3.0,
            )


def _over_mids_db(mixed: Mixed, low_hz: float, high_hz: float) -> float:
    """Return the level of a band of a mix over that of 250 to 1000 Hz, in dB."""
    audio, rate = mixed.audio()
    return level_db(audio, rate, low_hz, high_hz) - level_db(audio, rate, 250.0, 1000.0)


def faulty(place: Path) -> Iterator[Row]:
    """References with a dead or inverted channel, with rumble, or very quiet."""
    for quality in ("fast", "best"):
        good = mix(place, "-r", place / "ref.wav", "--quality", quality, name="good")
        for name in ("left_only", "inverted", "vinyl", "quiet"):
            mixed = mix(place, "-r", place / f"{name}.wav", "--quality", quality)
            if not (ends_well(good) and ends_well(mixed)):
                yield f"{name}, {quality}", "the fault is not followed", short(mixed.text), False
                continue
            (a, rate), (b, _) = mixed.audio(), good.audio()
            figures = {
                "left/right dB": abs(balance_db(a) - balance_db(b)),
                "side dB": abs(max(side_db(a), -25.0) - max(side_db(b), -25.0)),
                "20-40 Hz dB": abs(level_db(a, rate, 20, 40) - level_db(b, rate, 20, 40)),
            }
            lufs = mixed.results["mix"]["integrated_lufs"]
            loud = lufs > -20.0
            held = (
                figures["left/right dB"] < 0.5
                and (name in {"left_only"} or figures["side dB"] < 3.0)
                and figures["20-40 Hz dB"] < 4.0
                and loud
            )
            told = mixed.says("reference") and ends_well(mixed)
            came = ", ".join(f"{label} {value:.1f}" for label, value in figures.items())
            yield (
                f"reference {name}, {quality}",
                "as with the good one",
                (f"{came}, {lufs:.1f} LUFS, said {told}"),
                held,
            )


def short_header(place: Path) -> Iterator[Row]:
    """A header of 2 s over 10 s."""
    mixed = mix(place)
    yield "WAV header too short", "10 s, and said", *used(mixed, ["Lead Vox.wav"])


def zero_header(place: Path) -> Iterator[Row]:
    """A header of 0."""
    mixed = mix(place)
    yield "WAV header of 0", "10 s, and said", *used(mixed, ["Lead Vox.wav"])


def long_header(place: Path) -> Iterator[Row]:
    """Headers over what there is; RF64 and W64 from a pipe."""
    mixed = mix(place)
    names = sorted(p.name for p in (place / "session").iterdir() if p.name != "Kick.wav")
    yield (
        "WAV headers too long, pipes",
        "10 s of each, or what is there is named",
        *used(mixed, names),
    )


def self_link(place: Path) -> Iterator[Row]:
    """A link to itself."""
    mixed = mix(place)
    yield (
        "link to itself",
        "mixed without it, and said",
        f"exit {mixed.status}",
        (ends_well(mixed) and mixed.says("loop")),
    )


def marked(place: Path) -> Iterator[Row]:
    """Byte-order marks."""
    mixed = mix(place)
    yield (
        "session.toml with a byte-order mark",
        "is obeyed",
        f"exit {mixed.status}",
        (ends_well(mixed) and mixed.says("-1.5 dB from session.toml")),
    )
    if ends_well(mixed):
        plan = mixed.folder / "plan.json"
        plan.write_bytes(b"\xef\xbb\xbf" + plan.read_bytes())
        run = subprocess.run([COMMAND, "render", plan, "-o", place / "r"], capture_output=True)
        yield (
            "plan.json with a byte-order mark",
            "renders",
            f"exit {run.returncode}",
            (run.returncode == 0),
        )


def mp3_in_wav(place: Path) -> Iterator[Row]:
    """MP3 in a WAV container."""
    yield "MP3 in a WAV", "10 s of it", *used(mix(place), ["Lead Vox.wav"])


def one_shots(place: Path) -> Iterator[Row]:
    """Forty one-shots, whose mean is never 0."""
    mixed = mix(place)
    lines = sum("dc" in line.lower().split() for line in mixed.text.splitlines())
    flagged = sum("DC" in row["flags"] for row in mixed.results.get("tracks", []))
    yield (
        "40 one-shots",
        "no word of DC",
        f"{lines} lines, {flagged} flags",
        (ends_well(mixed) and lines == 0 and flagged == 0),
    )


def untagged_mp3(place: Path) -> Iterator[Row]:
    """An MP3 whose encoder's delay is not told."""
    mixed = mix(place)
    told = mixed.says("Lead Vox.mp3") and (mixed.says("delay") or mixed.says(" late"))
    yield (
        "MP3 without a delay tag",
        "said",
        f"exit {mixed.status}, said {told}",
        (ends_well(mixed) and told),
    )


def vbr_mp3(place: Path) -> Iterator[Row]:
    """VBR MP3s whose length no header tells."""
    names = ["Vox loud first.mp3", "Vox quiet first.mp3", "Vox xing 0.mp3"]
    yield "VBR MP3s without a true header", "10 s of each", *used(mix(place), names)


def dual_mono(place: Path) -> Iterator[Row]:
    """Dual-mono files."""
    mixed = mix(place)
    pans = [mixed.track(f"Guitar {s}.wav")["pan"] for s in "LR"] if ends_well(mixed) else [0, 0]
    yield "dual-mono guitars L and R", "left and right", str(pans), pans[0] < -0.2 and pans[1] > 0.2


def takes(place: Path) -> Iterator[Row]:
    """Takes beside the comp that was cut from them."""
    mixed = mix(place)
    voices = [name for name in mixed.heard if "Vox" in name]
    yield "takes beside their comp", "the comp alone", str(voices), voices == ["Lead Vox COMP.wav"]


def low_rate(place: Path) -> Iterator[Row]:
    """Two of three tracks at 8 kHz."""
    mixed = mix(place)
    rate = mixed.plan.get("sample_rate")
    yield "two of three tracks at 8 kHz", "44100 Hz", f"{rate} Hz", rate == 44100


def silent_tail(place: Path) -> Iterator[Row]:
    """Silence after the song."""
    mixed = mix(place)
    lasts = mixed.audio()[0].shape[1] / RATE if ends_well(mixed) else 0.0
    yield "90 s of silence at the end", "some 10 s", f"{lasts:.1f} s", 9.5 < lasts < 16.0


# Made here ---------------------------------------------------------------------------------------


def joined_mp3(place: Path) -> Iterator[Row]:
    """Two MP3s one after the other, and one that holds its length twice over."""
    tracks = band(place)
    half = ffmpeg(tracks["Lead Vox"], place / "half.mp3", "-t", "5", "-c:a", "libmp3lame")
    data = half.read_bytes()
    (place / "session" / "Joined.mp3").write_bytes(data + data)
    yield "joined MP3s", "both parts", *used(mix(place), ["Joined.mp3"], 10.05)


def chained_ogg(place: Path) -> Iterator[Row]:
    """Chained Ogg, Ogg without an end, FLAC without a length."""
    tracks = band(place)
    half = ffmpeg(tracks["Lead Vox"], place / "half.ogg", "-t", "5", "-c:a", "libvorbis")
    other = ffmpeg(tracks["Guitar"], place / "other.ogg", "-t", "5", "-c:a", "libvorbis",
                   "-serial_offset", "77")  # fmt: skip
    (place / "session" / "Chained.ogg").write_bytes(half.read_bytes() + other.read_bytes())
    yield "chained Ogg", "both streams", *used(mix(place), ["Chained.ogg"])
    (place / "session" / "Chained.ogg").unlink()
    whole = ffmpeg(tracks["Guitar"], place / "whole.ogg", "-c:a", "libvorbis").read_bytes()
    pages = [m.start() for m in re.finditer(b"OggS", whole)]
    last = bytearray(whole)
    last[pages[-1] + 5] &= ~4  # not the last page; the checksum is mended below
    last[pages[-1] + 22 : pages[-1] + 26] = bytes(4)
    last[pages[-1] + 22 : pages[-1] + 26] = struct.pack("<I", _ogg_crc(last[pages[-1] :]))
    (place / "session" / "No end.ogg").write_bytes(bytes(last))
    flac = place / "session" / "Piped.flac"
    with flac.open("wb") as file:
        command = ["ffmpeg", "-v", "error", "-i", tracks["Bass"], "-f", "flac", "-"]
        subprocess.run(command, stdout=file, check=True, stdin=subprocess.DEVNULL)
    yield (
        "Ogg without its end, FLAC of no length",
        "10 s of each",
        *used(mix(place), ["No end.ogg", "Piped.flac"]),
    )


def _ogg_crc(page: bytes | bytearray) -> int:
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
            crc &= 0xFFFFFFFF
    return crc


def other_containers(place: Path) -> Iterator[Row]:
    """Files that libsndfile does not read, or whose name does not say what they are."""
    tracks = band(place)
    names = {"A.mov": ("-c:a", "pcm_s16le"), "B.mp4": ("-c:a", "aac"), "C.mp2": (),
             "D.wma": (), "E.webm": ("-c:a", "libopus"), "F.3gp": ("-c:a", "aac"),
             "G.m4a": ("-c:a", "alac")}  # fmt: skip
    for name, how in names.items():
        ffmpeg(tracks["Lead Vox"], place / "session" / name, *how)
    shutil.copy(tracks["Guitar"], place / "session" / "No suffix")
    shutil.copy(tracks["Guitar"], place / "session" / "Space.wav ")
    shutil.copy(tracks["Guitar"], place / "session" / "Wrong.mp3")
    mixed = mix(place)
    asked = [*names, "No suffix", "Space.wav ", "Wrong.mp3"]
    known = [*mixed.heard, *(t["path"] for t in mixed.plan.get("tracks", []))]
    silent = [n for n in asked if n not in known and not mixed.says(n)]
    came = f"exit {mixed.status}, {len(set(asked) & set(known))} of {len(asked)} read"
    yield (
        "other containers and odd names",
        "each read, or named",
        came,
        (ends_well(mixed) and not silent),
    )


def unreadable(place: Path) -> Iterator[Row]:
    """What is audio and cannot be read is a problem, not a note."""
    band(place)
    good = (place / "session" / "Kick.wav").read_bytes()
    for name, data in {
        "Lead.m4a": b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42" + bytes(3000),
        "Vox.wav.part": good[:20000],
        "Cloud.wav": b"",
    }.items():
        (place / "session" / name).write_bytes(data)
    mixed = mix(place)
    named = [n for n in ("Lead.m4a", "Vox.wav.part", "Cloud.wav") if mixed.says(n)]
    yield (
        "audio that cannot be read",
        "exit 2, each named",
        f"exit {mixed.status}, {named}",
        (mixed.status == 2 and len(named) == 3),
    )


def workstation_folders(place: Path) -> Iterator[Row]:
    """Folders that DAWs and systems leave."""
    tracks = band(place)
    folders = ["Freeze Files", "Undo Data", "Fade Files", "Edits/cache", "$RECYCLE.BIN/S-1-5",
               ".Trashes/501", "__MACOSX", "Backups", "Peaks", "Freeze Files.logicx"]  # fmt: skip
    for folder in folders:
        (place / "session" / folder).mkdir(parents=True)
        shutil.copy(tracks["Guitar"], place / "session" / folder / "Guitar_04.wav")
    mixed = mix(place)
    extra = [name for name in mixed.heard if "/" in name]
    yield "folders of DAWs and systems", "left out", str(extra), ends_well(mixed) and not extra


def reference_among_tracks(place: Path) -> Iterator[Row]:
    """A copy of the reference, under another name, among the tracks."""
    tracks = band(place)
    rng = np.random.default_rng(7)
    other = sum(notes(hz, seed=s) for hz, s in ((98, 41), (196, 42), (392, 43)))
    song = 0.2 * np.stack([other + 0.3 * rng.standard_normal(other.size) * hits(9e3, 0.02, 0.3),
                           other])  # fmt: skip
    soundfile.write(place / "ref.wav", song.T, RATE)
    write(place, "Neon Dreams (final).flac", 0.7 * song)
    mixed = mix(place, "-r", place / "ref.wav", "--quality", "fast")
    yield (
        "a copy of the reference",
        "left out",
        str(mixed.heard),
        (ends_well(mixed) and len(mixed.heard) == len(tracks)),
    )


def odd_text(place: Path) -> Iterator[Row]:
    """Texts that break parsers."""
    band(place)
    file = place / "session" / "session.toml"
    texts: dict[str, bytes] = {
        "a huge integer": b'[[track]]\nmatch = "*"\ngain_db = ' + b"9" * 5000,
        "deep nesting": b"a = " + b"[" * 100_000,
        "1e308": b'[[track]]\nmatch = "*"\ngain_db = 1e308',
        "UTF-16": '[[track]]\nmatch = "Kick.wav"\ngain_db = -1.5\n'.encode("utf-16"),
        "bytes of no text": b"\xff\xfe\x00\xd8\x00",
    }
    for label, data in texts.items():
        file.write_bytes(data)
        mixed = mix(place)
        well = mixed.status in {0, 2} and "Traceback" not in mixed.text
        well = well and (mixed.status == 0 or mixed.says("session.toml"))
        yield (
            f"session.toml with {label}",
            "obeyed, or named",
            (f"exit {mixed.status}: {short(mixed.text)[:80]}"),
            well,
        )
    file.unlink()
    os.mkfifo(file)
    mixed = mix(place)
    yield "session.toml is a FIFO", "named at once", f"exit {mixed.status}", mixed.status == 2
    file.unlink()


def odd_folders(place: Path) -> Iterator[Row]:
    """A looping link and a very deep folder: named, and with ``--skip-bad`` mixed without it."""
    band(place)
    (place / "session" / "again").symlink_to(place / "session", target_is_directory=True)
    deep = place / "session"
    for _ in range(60):
        deep = deep / "d"
    deep.mkdir(parents=True)
    named, mixed = mix(place), mix(place, "--skip-bad")
    yield (
        "a looping link, a deep folder",
        "the folder is named, and left out with --skip-bad; each track mixed once",
        f"exit {named.status}, then {mixed.status}, {mixed.heard}",
        (
            named.status == 2
            and named.says("folders deep", "--skip-bad")
            and mixed.status == 3
            and len(mixed.heard) == 4
        ),
    )


def long_silence(place: Path) -> Iterator[Row]:
    """Hours of silence in a small FLAC."""
    band(place)
    path = place / "session" / "Long.flac"
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for _ in range(15):
            file.write(np.zeros(60 * RATE))
    command = [COMMAND, "mix", str(place / "session"), "-o", str(place / "out"), "-q"]
    shutil.rmtree(place / "out", ignore_errors=True)
    environment = os.environ | {"STEMWRIGHT_STORE": str(place.parent / "store")}
    script = (
        "import resource, subprocess, sys; s = subprocess.run(sys.argv[1:]).returncode; "
        "print(s, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    )
    run = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True,
                         env=environment)  # fmt: skip
    status, megabytes = (int(n) for n in run.stdout.split()[-2:])
    yield (
        "15 min of silence in one FLAC",
        "exit 0, under 1.5 GB",
        (f"exit {status}, {megabytes} MB"),
        status == 0 and megabytes < 1500,
    )


CASES: dict[str, Callable[[Path], Iterator[Row]]] = {
    "01": overdub, "02": one_unstamped, "04": one_sided, "05": utilities, "06": beat, "07": m4a,
    "10": submixes, "11": direct_current, "12": bandlimited, "13": faulty, "15": short_header,
    "16": zero_header, "17": long_header, "19": self_link, "20": marked, "21": mp3_in_wav,
    "23": one_shots, "25": untagged_mp3, "26": vbr_mp3, "27": dual_mono, "28": takes,
    "29": low_rate, "30": silent_tail,
}  # fmt: skip
MADE = (
    joined_mp3, chained_ogg, other_containers, unreadable, workstation_folders,
    reference_among_tracks, odd_text, odd_folders, long_silence,
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=Path, help="a folder of scripts NN_name.py")
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    asked = parser.parse_args()
    asked.folder = asked.folder.resolve()
    asked.folder.mkdir(parents=True, exist_ok=True)
    rows: list[Callable[[], Iterator[Row]]] = []
    for script in sorted(asked.cases.glob("[0-9]*.py")) if asked.cases else ():
        look = CASES.get(script.stem[:2])
        if look is None:
            print(f"{script.name}: no row looks at it")  # noqa: T201
        elif asked.only in script.stem:
            rows.append(lambda s=script, look=look: _from_script(asked.folder, s, look))
    rows += [
        lambda look=look: look(_fresh(asked.folder / look.__name__))
        for look in MADE
        if asked.only in look.__name__
    ]
    count = failed = 0
    for row in rows:
        try:
            for name, expected, came, holds in row():
                count, failed = count + 1, failed + (not holds)
                print(  # noqa: T201
                    f"{'holds ' if holds else 'FAILS '} {name}: expected {expected}; came {came}",
                    flush=True,
                )
        except Exception as error:  # a row that breaks must not hide the others
            count, failed = count + 1, failed + 1
            print(f"FAILS  {type(error).__name__}: {error}", flush=True)  # noqa: T201
    print(f"{count} rows, {failed} of them do not hold")  # noqa: T201
    return 1 if failed else 0


def _fresh(place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    (place / "session").mkdir(parents=True)
    return place


def _from_script(
    folder: Path, script: Path, look: Callable[[Path], Iterator[Row]]
) -> Iterator[Row]:
    place = _fresh(folder / script.stem)
    subprocess.run([sys.executable, str(script), str(place)], check=True, capture_output=True)
    yield from look(place)


if __name__ == "__main__":
    sys.exit(main())
