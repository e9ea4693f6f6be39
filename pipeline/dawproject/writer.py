"""The plan as a session that a workstation opens: DAWproject 1.0.

A ``.dawproject`` file is a zip of ``project.xml``, ``metadata.xml`` and audio; Bitwig Studio,
Studio One and Cubase read it (https://github.com/bitwig/dawproject). Two kinds are written:

``"tracks"``
    One group a stem with its raw tracks inside, each at its gain and pan, and the strip's
    equaliser and compressor as the format's own devices, so that every decision can be turned
    again. The raw files stay where they are and are referred to, relative to the project.
``"stems"``
    One track a stem that plays the rendered audio, which travels inside the file; the strips are
    in that audio already, so the faders are neutral. Only the bus is left to turn.

All stems run into one group, the mix bus, and the reference past it. Width and spread, for which
the format has no word, are a track of audio beside the strip; the knee, the detector, a flipped
polarity and what the mix makes of a raw file's channels and DC are said in comments.
"""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from uuid import uuid4

from pipeline.dawproject.document import APPROXIMATE, Document, xml_text
from pipeline.errors import InputError, Problem, suggest
from pipeline.plan import Plan
from pipeline.prose import spoken

__all__ = ["Content", "ProjectAudio", "write_dawproject"]

Content = Literal["tracks", "stems"]

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip has no earlier time; a fixed one keeps files equal


@dataclass(frozen=True)
class ProjectAudio:
    """The files that a project plays.

    Parameters
    ----------
    session_root
        The folder that the plan's track paths are relative to.
    stems
        Stem name to its rendered file, after the console. With ``content="stems"`` every stem
        that is heard needs one, and they are put inside; with ``"tracks"`` they are added as
        muted tracks that refer to the files, to compare with.
    sides
        Stem name to the file of what width and spread add to it,
        :data:`pipeline.console.processors.SIDES_DB` lower; such stems sound as wide as in the mix.
    reference
        A recording to add as a muted track.
    """

    session_root: Path
    stems: Mapping[str, Path]
    sides: Mapping[str, Path] | None = None
    reference: Path | None = None


def write_dawproject(
    path: Path,
    plan: Plan,
    audio: ProjectAudio,
    *,
    content: Content = "tracks",
    collect: bool = False,
    title: str = "",
    refer: Callable[[Path], str | None] | None = None,
) -> None:
    """Write a plan as a DAWproject file, whole or not at all.

    Parameters
    ----------
    path
        The file to write, usually ``session.dawproject``; its folder must exist. Raw tracks are
        referred to relative to that folder.
    plan
        What was decided.
    audio
        What is played.
    content
        ``"tracks"`` or ``"stems"``, see the module.
    collect
        Put the raw tracks, the sides and the reference inside the file too, so that it can be
        handed on alone.
    title
        The name of the song in the metadata; empty for the name of ``session_root``.
    refer
        Returns how to refer to a file that will lie elsewhere than now; None for as it lies.

    Raises
    ------
    InputError
        If ``content="stems"`` and a heard stem has no file; also whatever
        :func:`pipeline.audio.stream.probe` raises of a file that cannot be read.
    """
    if content not in get_args(Content):
        raise ValueError(f"unknown content {content!r}: {suggest(content, get_args(Content))}")
    missing = [s.name for s in plan.stems if not s.mute and s.name not in audio.stems]
    if content == "stems" and missing:
        raise InputError(
            Problem(f"stem {name}", "has no rendered file", "render it, or write the raw tracks")
            for name in missing
        )
    document = Document(path.parent, refer)
    if content == "tracks":
        document.add_groups(plan, audio.session_root, sides=audio.sides, embed=collect)
    else:
        document.add_bus(plan)
    for stem in (stem for stem in plan.stems if stem.name in audio.stems):
        name, file = spoken(stem.name), audio.stems[stem.name]
        if content == "tracks":
            document.add_audio_track(f"{name} (rendered)", file, mute=True)
        else:
            document.add_audio_track(name, file, mute=stem.mute, embed=True)
    if audio.reference is not None:
        name = f"Reference: {audio.reference.name}"
        embed = collect or content == "stems"
        document.add_audio_track(name, audio.reference, mute=True, embed=embed, through_bus=False)
    document.add_master()
    project = _serialise(document.project)
    metadata = _serialise(_metadata(title or audio.session_root.resolve().name, content))
    _write_zip(path, {"project.xml": project, "metadata.xml": metadata}, document.embedded)


def _metadata(title: str, content: Content) -> ET.Element:
    metadata = ET.Element("MetaData")
    ET.SubElement(metadata, "Title").text = xml_text(title)
    comment = "Mixed by Stemwright. " + APPROXIMATE
    if content == "tracks":
        comment += (
            "Width and spread are not in the format: where a stem has them, its sides play as "
            "audio beside its strip."
        )
    ET.SubElement(metadata, "Comment").text = comment.strip()
    return metadata


def _serialise(root: ET.Element) -> bytes:
    ET.indent(root)
    return ET.tostring(root, encoding="UTF-8", xml_declaration=True) + b"\n"


def _write_zip(path: Path, documents: Mapping[str, bytes], audio: Mapping[str, Path]) -> None:
    neighbour = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        with zipfile.ZipFile(neighbour, "w") as archive:
            for name, data in documents.items():
                archive.writestr(_entry(name, zipfile.ZIP_DEFLATED), data)
            for name, source in audio.items():
                entry = _entry(name, zipfile.ZIP_STORED)  # samples hardly deflate
                entry.file_size = source.stat().st_size  # lets zipfile choose zip64 by itself
                with source.open("rb") as stream, archive.open(entry, "w") as target:
                    shutil.copyfileobj(stream, target, 1 << 20)
        neighbour.replace(path)
    finally:
        neighbour.unlink(missing_ok=True)


def _entry(name: str, method: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, ZIP_EPOCH)
    entry.compress_type = method
    entry.create_system = 3  # the same bytes on every system
    entry.external_attr = 0o644 << 16
    return entry
