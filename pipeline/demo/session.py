"""The demo: a synthesised session of 112 raw tracks, and a reference made of another song.

Everything is made from a seed, no recording is involved. The files are the same, bit for bit, on
each run with the same versions, whatever the number of workers.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import uuid
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from pipeline.audio.stream import write
from pipeline.demo.reference import REFERENCE_RATE, mix_reference
from pipeline.demo.stage import Stage, TrackSpec, render_track
from pipeline.demo.tracks import TRACKS
from pipeline.errors import InputError, Problem
from pipeline.synth.drums import strike
from pipeline.synth.score import Song, compose
from pipeline.units import FloatArray

__all__ = ["DemoPaths", "make_demo"]

_MARKER = ".stemwright-demo"
_KIT_RATE = 48_000
_ROUGH_RATE = 48_000
_ROUGH_SECONDS = 12.0
_SHORTEST_SECONDS = 4.0


@dataclass(frozen=True)
class DemoPaths:
    """Where the demo lies.

    Parameters
    ----------
    session
        The folder of raw tracks.
    reference
        The finished mix of another song.
    tracks
        How many tracks the session has.
    """

    session: Path
    reference: Path
    tracks: int


def make_demo(
    folder: Path,
    *,
    seconds: float = 40.0,
    seed: int = 1,
    workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> DemoPaths:
    """Synthesise the demo into ``folder``: ``session/`` and ``reference.wav``.

    An earlier demo of the same parameters and version is kept as it is. One of others is replaced;
    what else was put into its folder stays.

    Parameters
    ----------
    seconds
        Length of the song, 4 or more.
    workers
        Threads; the files do not depend on it.
    on_progress
        Called with the files done and their total, from the calling thread.

    Raises
    ------
    InputError
        When ``folder`` holds something that is not an earlier demo, or ``seconds`` is too short.
    """
    if not seconds >= _SHORTEST_SECONDS:
        raise InputError(
            [Problem("seconds", f"{seconds:g} is too short for a song", "use 4 or more")]
        )
    folder = Path(folder)
    made = DemoPaths(folder / "session", folder / "reference.wav", len(TRACKS))
    wanted = {"version": _version(), "seconds": float(seconds), "seed": int(seed)}
    earlier = _manifest(folder)
    if earlier is not None and all(earlier.get(key) == value for key, value in wanted.items()):
        sizes: dict[str, int] = earlier["files"]
        if all(_size(folder / name) == size for name, size in sizes.items()):
            return made
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    try:
        _record(part, seconds=seconds, seed=seed, workers=workers, on_progress=on_progress)
        files = {
            path.relative_to(part).as_posix(): path.stat().st_size
            for path in sorted(part.rglob("*"))
            if path.is_file()
        }
        content = json.dumps({**wanted, "files": files}, indent=1, ensure_ascii=False)
        (part / _MARKER).write_text(content + "\n", encoding="utf-8")
        _put(part, folder, earlier)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return made


def _record(
    part: Path,
    *,
    seconds: float,
    seed: int,
    workers: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Write every file of the demo into the new folder ``part``."""
    session = part / "session"
    for spec in TRACKS:
        (session / spec.name).parent.mkdir(parents=True, exist_ok=True)
    song = compose(seed, seconds)
    total, done = len(TRACKS) + 1, 0
    rough = np.zeros((2, round(min(seconds, _ROUGH_SECONDS) * _ROUGH_RATE)))

    def advance() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, total)

    pool = ThreadPoolExecutor(max_workers=max(workers, 1))
    try:
        reference = pool.submit(_reference, part / "reference.wav", seed, seconds)
        kit = strike(song, round(seconds * _KIT_RATE), rate=_KIT_RATE)
        stages = {
            rate: Stage(song, seconds, rate, kit if rate == _KIT_RATE else None)
            for rate in {spec.rate for spec in TRACKS}
        }
        tracks = pool.map(lambda spec: _track(spec, stages[spec.rate], session / spec.name), TRACKS)
        # In the order of the tracks, so that the sum does not depend on who was first.
        for excerpt in tracks:
            rough[:, : excerpt.shape[1]] += excerpt[:, : rough.shape[1]]
            advance()
        reference.result()
        advance()
    finally:
        pool.shutdown(cancel_futures=True)
    rough *= 0.98 / max(float(np.abs(rough).max()), 1e-9)
    write(
        session / "Rough Mix.wav",
        rough.astype(np.float32),
        sample_rate=_ROUGH_RATE,
        subtype="PCM_16",
    )
    (session / "._01_Kick In.wav").write_bytes(_apple_double())


def _reference(path: Path, seed: int, seconds: float) -> None:
    audio = mix_reference(seed, seconds)
    write(path, audio, sample_rate=REFERENCE_RATE, subtype="PCM_24", dither_seed=seed)


def _track(spec: TrackSpec, stage: Stage, path: Path) -> FloatArray:
    """Write a track, and return what the rough mix has of it, ``(2, frames)``."""
    audio = render_track(spec, stage)
    _save(path, audio, spec)
    return _excerpt(audio, spec, stage.song)


def _save(path: Path, audio: FloatArray, spec: TrackSpec) -> None:
    match path.suffix:
        case ".wav":
            subtype = "PCM_16" if spec.subtype == "PCM_16" else "PCM_24"
            write(
                path,
                audio,
                sample_rate=spec.rate,
                subtype="FLOAT" if spec.subtype == "FLOAT" else subtype,  # type: ignore[arg-type]
            )
        case ".flac":
            write(path, audio, sample_rate=spec.rate, format="flac", subtype="PCM_24")
        case ".aif" | ".aiff":
            soundfile.write(path, audio.T, spec.rate, subtype=spec.subtype, format="AIFF")
        case ".ogg":
            with soundfile.SoundFile(
                path, "w", spec.rate, len(audio), format="OGG", subtype="VORBIS"
            ) as file:
                # libsndfile's Vorbis encoder overruns its stack on long writes.
                for start in range(0, audio.shape[1], 16384):
                    file.write(audio[:, start : start + 16384].T)
            _fix_ogg_serial(path, zlib.crc32(spec.name.encode()))


def _excerpt(audio: FloatArray, spec: TrackSpec, song: Song) -> FloatArray:
    """Return the first chorus of a track at an even level, left and right by its name."""
    chorus = next((s for s in song.sections if s.letter in "cC"), song.sections[-1])
    first = round(chorus.first_bar * song.bar_s * spec.rate)
    x = audio[:, first : first + round(_ROUGH_SECONDS * spec.rate)].astype(np.float64)
    if x.shape[1] == 0:
        return np.zeros((2, 0))
    if spec.rate != _ROUGH_RATE:
        x = np.asarray(soxr.resample(x.T, spec.rate, _ROUGH_RATE, quality="HQ")).T
    level = float(np.sqrt((x**2).mean()))
    x = x * (0.02 / level if level > 1e-5 else 0.0)
    stem = Path(spec.name).stem
    sides = (1.0, 0.2) if stem.endswith(" L") else (0.2, 1.0) if stem.endswith(" R") else (1.0, 1.0)
    return np.stack([x[0] * sides[0], x[-1] * sides[1]])


def _fix_ogg_serial(path: Path, serial: int) -> None:
    """Give an Ogg stream a chosen serial number, which libogg's writers draw at random.

    Each page's checksum (RFC 3533: CRC-32 with polynomial 0x04c11db7) is made good.
    """
    data = bytearray(path.read_bytes())
    at = 0
    while at < len(data):
        segments = data[at + 26]
        size = 27 + segments + sum(data[at + 27 : at + 27 + segments])
        struct.pack_into("<I", data, at + 14, serial)
        struct.pack_into("<I", data, at + 22, 0)
        struct.pack_into("<I", data, at + 22, _ogg_checksum(bytes(data[at : at + size])))
        at += size
    path.write_bytes(data)


_REVERSED = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))


def _ogg_checksum(page: bytes) -> int:
    # zlib's CRC has the same polynomial, with the bits of each octet and of the result reversed,
    # and all ones at the start and the end, which are undone: crc(x) ^ crc(zeros) is linear.
    mirrored = page.translate(_REVERSED)
    value = zlib.crc32(mirrored) ^ zlib.crc32(bytes(len(page)))
    return int(f"{value:032b}"[::-1], 2)


def _apple_double() -> bytes:
    """Return a file of the kind that macOS leaves next to others on foreign disks."""
    header = struct.pack(">II16sH", 0x00051607, 0x00020000, b"Mac OS X        ", 1)
    return (header + struct.pack(">III", 2, 38, 0)).ljust(4096, b"\0")


def _version() -> str:
    """Return a hash of the demo's own code."""
    digest = hashlib.sha256()
    for room in ("demo", "synth"):
        for path in sorted(Path(__file__).parents[1].glob(f"{room}/*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _manifest(folder: Path) -> dict[str, Any] | None:
    """Return what the earlier demo in a folder says of itself, or None where nothing lies."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        manifest = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
        if isinstance(manifest, dict) and isinstance(manifest.get("files"), dict):
            return manifest
    except (OSError, ValueError):
        pass
    raise InputError(
        [Problem(str(folder), "exists and is not an earlier demo", "name another folder")]
    )


def _put(part: Path, folder: Path, earlier: dict[str, Any] | None) -> None:
    """Move the whole new demo to its place, and over to it what others put into the old one."""
    if earlier is None:
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
        return
    old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.old")
    folder.rename(old)
    part.rename(folder)
    ours = {*earlier["files"], _MARKER}
    for path in sorted(old.rglob("*")):
        name = path.relative_to(old).as_posix()
        target = folder / name
        if (path.is_file() or path.is_symlink()) and name not in ours and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    shutil.rmtree(old)
