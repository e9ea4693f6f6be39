"""How each kind of file is opened: read to its end, whatever its header makes of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from pipeline.audio.formats.containers import Header, read_header
from pipeline.audio.formats.decoders import Decoder, JoinedDecoder, SndfileDecoder
from pipeline.audio.formats.flac_length import flac_end
from pipeline.audio.formats.foreign import ForeignDecoder, foreign_stream
from pipeline.audio.formats.kind import AudioKind
from pipeline.audio.formats.mpeg_frames import id3_bytes
from pipeline.audio.formats.mpeg_stream import MpegRecording, mpeg_recordings
from pipeline.audio.formats.ogg_pages import OggLinks, ogg_links
from pipeline.audio.formats.pcm import PcmLayout, pcm_layout
from pipeline.audio.formats.spliced_file import Span, patched

__all__ = ["Recording", "UnlikeRecordingsError", "open_foreign", "open_recording"]

Stamp = tuple[int, ...]

_WAVE_CODECS = {0x50: "MP2", 0x55: "MP3"}
_DELAY_UNTOLD = (
    "aac", "loas", "mpegts", "mpeg", "ac3", "eac3", "dts", "asf", "amr", "rm", "flv", "avi", "mpc",
)  # fmt: skip
_SHORT = (b"RIFFWAVE", b"RIFXWAVE", b"FORMAIFF", b"FORMAIFC")
_CHUNKED = ("wav", "w64", "aiff", "caf")


@dataclass(frozen=True)
class Recording:
    """An open file, and what should be known of it.

    Parameters
    ----------
    decoder
        Its samples.
    frames
        Its length per channel.
    layout
        Where the samples lie, if they are plain PCM.
    time_reference
        Start in samples since midnight; None without one.
    remarks
        How it was read otherwise than its header says, in words.
    latency
        How late it may sound, in words; None where nothing is known to make it so.
    incomplete
        What is missing of it, in words; None if nothing.
    """

    decoder: Decoder
    frames: int
    layout: PcmLayout | None = None
    time_reference: int | None = None
    remarks: tuple[str, ...] = ()
    latency: str | None = None
    incomplete: str | None = None


class UnlikeRecordingsError(Exception):
    """Recordings that were joined have different sample rates or channels; the text says which."""


def open_recording(path: Path, kind: AudioKind | None, stamp: Stamp) -> Recording:
    """Open a file that libsndfile reads.

    Parameters
    ----------
    kind
        By :func:`pipeline.audio.formats.kind.sniff`.
    stamp
        What changes with the file: what was counted is kept for it.

    Raises
    ------
    soundfile.LibsndfileError
        When libsndfile does not read it.
    OSError
        When the system does not.
    UnlikeRecordingsError
        As it says.
    """
    demuxer = "" if kind is None else kind.demuxer
    if demuxer in _CHUNKED and (header := read_header(path)) is not None:
        if header.codec in _WAVE_CODECS:
            span = (header.audio_start, header.audio_start + header.held_bytes)
            recordings = _recordings(path, span, stamp)
            if recordings:
                return _mpeg(path, recordings, header)
        return _chunked(path, header)
    if demuxer == "mp3" and (recordings := _recordings(path, None, stamp)):
        return _mpeg(path, recordings, None)
    if demuxer == "ogg":
        return _ogg(path, _links(path, stamp))
    if demuxer == "flac":
        return _flac(path)
    return _plain(SndfileDecoder(path))


def open_foreign(path: Path, kind: AudioKind, stamp: Stamp) -> Recording:
    """Open a file through FFmpeg.

    Raises
    ------
    OSError
        With a message in words, when that is not there or cannot read it.
    """
    stream = foreign_stream(path, kind, stamp)
    rate = stream.sample_rate
    remarks = []
    if stream.streams > 1:
        remarks.append(f"holds {stream.streams} sound streams: the first is read")
    if stream.silence:
        remarks.append(f"its sound begins {stream.silence / rate:.3f} s after its pictures")
    latency = None
    if kind.demuxer in _DELAY_UNTOLD:
        latency = (
            f"is {kind.name}, which does not tell its encoder's delay: it may sound up to 50 ms "
            "off the same take as WAV"
        )
    incomplete = None
    if stream.incomplete:
        incomplete = _short(stream.frames / rate, stream.promised / rate)
    elif stream.complaint:
        remarks.append(f"was read with a complaint of FFmpeg: {stream.complaint}")
    return Recording(
        ForeignDecoder(path, kind, stream),
        stream.frames,
        remarks=tuple(remarks),
        latency=latency,
        incomplete=incomplete,
    )


def _plain(decoder: Decoder) -> Recording:
    return Recording(decoder, decoder.frames)


def _short(held_s: float, promised_s: float) -> str:
    return f"ends early: it holds {held_s:.3f} s of {promised_s:.3f} s"


def _chunked(path: Path, header: Header) -> Recording:
    pieces = None
    if header.patches:
        # What lies behind the audio, or behind 4 GiB of it, must not be taken for chunks.
        end = header.audio_start + header.held_bytes
        pieces = patched(header.patches, end if header.form not in _SHORT else min(end, 2**32 - 1))
    decoder = SndfileDecoder(path, pieces)
    frames = decoder.frames
    layout = pcm_layout(
        header,
        format=decoder.format,
        subtype=decoder.subtype,
        channels=decoder.channels,
        frames=frames,
    )
    if layout is not None and header.patches:
        frames = header.held_bytes // layout.frame_bytes  # also over 4 GiB, where a WAV's size ends
    remarks: tuple[str, ...] = ()
    incomplete = None
    seconds = frames / decoder.sample_rate
    if header.incomplete:
        promised = header.promised_bytes or 0
        incomplete = (
            f"is truncated: it holds {header.held_bytes:,} of the {promised:,} bytes of audio "
            f"that its header promises ({seconds:.3f} of "
            f"{seconds * promised / max(1, header.held_bytes):.3f} s)"
        )
    elif header.reason is not None:
        remarks = (f"{header.reason}: {seconds:.3f} s were read",)
    return Recording(decoder, frames, layout, header.time_reference, remarks, incomplete=incomplete)


@functools.lru_cache(maxsize=1024)
def _recordings(path: Path, span: Span | None, stamp: Stamp) -> tuple[MpegRecording, ...]:
    return tuple(mpeg_recordings(path, span))


def _mpeg(path: Path, recordings: Sequence[MpegRecording], header: Header | None) -> Recording:
    first = recordings[0]
    rate = first.header.sample_rate
    if header is None and len(recordings) == 1 and first.usual:
        decoder: Decoder = SndfileDecoder(path)
        lengths = [decoder.frames]
    else:
        decoder, lengths = _joined(
            [functools.partial(SndfileDecoder, path, r.pieces()) for r in recordings],
            # libsndfile reckons layer II from its first frame.
            [None if r.header.layer == 3 else r.frames * r.header.samples for r in recordings],
        )
    frames = sum(lengths)
    remarks = []
    if len(recordings) > 1:
        remarks.append(
            f"is {len(recordings)} MPEG recordings, one behind the other: all are read, "
            f"{frames / rate:.3f} s"
        )
    latency = None
    if first.delay is None:
        layer_3 = first.header.layer == 3
        late_ms = 1e3 * (1105 if layer_3 else 481) / rate
        latency = (
            f"is an MP{first.header.layer} that does not tell its encoder's delay: it sounds about "
            f"{late_ms:.0f} ms late against the same take as WAV"
        )
    for recording in recordings:
        frame_s = recording.header.samples / rate
        if recording.stale:
            counted, held = (recording.tagged_frames or 0) * frame_s, recording.frames * frame_s
            remarks.append(f"its header counts {counted:.3f} s: all of it is read, {held:.3f} s")
        if recording.strange_bytes:
            remarks.append(
                f"{recording.strange_bytes:,} bytes between its frames are none and were passed "
                "over: what comes after them may sound early"
            )
    incomplete = None
    if missing := sum(recording.missing_frames for recording in recordings):
        held_s = frames / rate
        incomplete = _short(held_s, held_s + missing * first.header.samples / rate)
    reference = None if header is None else header.time_reference
    if header is not None and header.reason is not None:
        remarks.append(f"{header.reason}: {frames / rate:.3f} s were read")
    return Recording(decoder, frames, None, reference, tuple(remarks), latency, incomplete)


def _joined(
    openers: Sequence[Callable[[], Decoder]], known: Sequence[int | None]
) -> tuple[Decoder, list[int]]:
    """Open the first of several recordings, having looked at each."""
    first = openers[0]()
    lengths = []
    for opener, length in zip(openers, known, strict=True):
        one = first if opener is openers[0] else opener()
        lengths.append(one.frames if length is None else length)
        like = (one.sample_rate, one.channels) == (first.sample_rate, first.channels)
        if one is not first:
            one.close()
        if not like:
            first.close()
            raise UnlikeRecordingsError(
                f"{first.channels} channels at {first.sample_rate} Hz and then "
                f"{one.channels} at {one.sample_rate} Hz"
            )
    return JoinedDecoder(openers, lengths, first), lengths


@functools.lru_cache(maxsize=1024)
def _links(path: Path, stamp: Stamp) -> OggLinks:
    return ogg_links(path)


def _ogg(path: Path, links: OggLinks) -> Recording:
    remarks = []
    if len(links.spans) == 1:
        decoder: Decoder = SndfileDecoder(path)
        frames = decoder.frames
    else:
        openers = [functools.partial(SndfileDecoder, path, [span]) for span in links.spans]
        decoder, lengths = _joined(openers, [None] * len(openers))
        frames = sum(lengths)
        remarks.append(
            f"is {len(openers)} Ogg streams, one behind the other: all are read, "
            f"{frames / decoder.sample_rate:.3f} s"
        )
    incomplete = None
    if links.cut:
        seconds = frames / decoder.sample_rate
        incomplete = f"is truncated: its last Ogg page is not whole ({seconds:.3f} s are there)"
    elif not links.ends:
        seconds = frames / decoder.sample_rate
        remarks.append(f"its Ogg stream has no end page: {seconds:.3f} s were read")
    return Recording(decoder, frames, remarks=tuple(remarks), incomplete=incomplete)


def _flac(path: Path) -> Recording:
    with path.open("rb") as file:
        start = 0
        while tag := id3_bytes(file.read(10)):
            start += tag
            file.seek(start)
        file.seek(start)
        head = file.read(26)
    if len(head) < 26 or head[:4] != b"fLaC" or head[21] & 15 or any(head[22:26]):
        return _plain(SndfileDecoder(path))
    # STREAMINFO leaves the 36 bits of its length at 0: "unknown".
    end = flac_end(path, block_size=int.from_bytes(head[10:12], "big"))
    if end is None:
        raise soundfile.LibsndfileError(3)
    frames = end.samples
    length = bytes((head[21] & 0xF0 | frames >> 32,)) + (frames & 0xFFFFFFFF).to_bytes(4, "big")
    decoder = SndfileDecoder(path, patched({start + 21: length}, path.stat().st_size))
    seconds = frames / decoder.sample_rate
    if end.cut:
        cut = f"is truncated: its last FLAC frame is not whole ({seconds:.3f} s are there)"
        return Recording(decoder, frames, incomplete=cut)
    remark = f"does not tell how long it is: {seconds:.3f} s were read"
    return Recording(decoder, frames, remarks=(remark,))
