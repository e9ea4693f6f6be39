"""The XML of a DAWproject: a mixer's structure, its devices, and the clips that it plays.

Element names, their order and their units are those of version 1.0's schema
(https://github.com/bitwig/dawproject, Project.xsd).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from os import path as os_path
from pathlib import Path

from pipeline.audio.stream import probe
from pipeline.console.conditioning import ChannelUse
from pipeline.console.parameters import BUS_EQ_BANDS, STRIP_EQ_BANDS, WORKING_LUFS, EqBand
from pipeline.console.processors import SIDES_DB
from pipeline.console.response import HIGH_PASS_Q, band_values, high_pass
from pipeline.plan import Plan, StemPlan, TrackPlan
from pipeline.prose import spoken
from pipeline.units import amplitude_to_db, db_to_amplitude

__all__ = ["APPROXIMATE", "Document", "xml_text"]

FADER_MAX = 2.0  # the top of the faders of the workstations that read the format, +6 dB
SHAPES = {"low_shelf": "lowShelf", "peak": "bell", "high_shelf": "highShelf"}

_CHANNELS = {
    ChannelUse.LEFT: "its left channel is a mono track",
    ChannelUse.RIGHT: "its right channel is a mono track",
    ChannelUse.MONO: "the mean of its channels is a mono track",
    ChannelUse.MID_SIDE: "its channels are decoded from mid and side",
    ChannelUse.SIDE: "it is the side signal, on the left as it is and on the right inverted",
    ChannelUse.SWAP: "its channels are exchanged",
    ChannelUse.INVERT_LEFT: "its left channel is inverted",
    ChannelUse.INVERT_RIGHT: "its right channel is inverted",
}

# The characters that XML 1.0 cannot hold (section 2.2, production 2), lone surrogates among them.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

APPROXIMATE = (
    "Faders and equaliser settings are exact. Pan laws and compressors are near: the mix has a "
    "constant-power pan and a mean-square detector, and each workstation has its own. "
)


def xml_text(value: str) -> str:
    """Return a text with what XML 1.0 cannot hold replaced."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", value)


def _number(value: float) -> str:
    return f"{value:.9g}"


class Document:
    """The project's XML while it grows: the mixer's structure and the arrangement's lanes."""

    def __init__(self, folder: Path, refer: Callable[[Path], str | None] | None = None) -> None:
        self.folder = folder.resolve()
        self._refer = refer
        self.embedded: dict[str, Path] = {}
        self._ids = count(1)
        self.project = ET.Element("Project", version="1.0")
        ET.SubElement(self.project, "Application", name="Stemwright", version=_own_version())
        transport = ET.SubElement(self.project, "Transport")
        # The tempo is not known. At 60 a beat is a second, so that a reader which takes every
        # time for beats still puts each clip where it belongs.
        self._real(transport, "Tempo", 60.0, "bpm", low=20.0, high=666.0)
        ET.SubElement(transport, "TimeSignature", numerator="4", denominator="4", id=self._new_id())
        self.structure = ET.SubElement(self.project, "Structure")
        arrangement = ET.SubElement(self.project, "Arrangement", id=self._new_id())
        self.lanes = ET.SubElement(arrangement, "Lanes", timeUnit="seconds", id=self._new_id())
        self.master_track, self.master_id = self._new_id(), self._new_id()
        self._bus, self._bus_id = self.structure, self.master_id  # until add_bus

    def add_groups(
        self,
        plan: Plan,
        session_root: Path,
        *,
        sides: Mapping[str, Path] | None = None,
        embed: bool = False,
    ) -> None:
        """Add the mix bus, and in it one group a stem with its raw tracks.

        A fader ends at +6 dB; what a track needs beyond is handed on to its group, and from the
        groups to the limiter's input. Thresholds follow, so that the sum stays the same.

        Parameters
        ----------
        sides
            Stem name to the file of what width and spread add to it,
            :data:`pipeline.console.processors.SIDES_DB` lower: such a stem is a group of two, its
            strip and these sides, under one fader.
        embed
            Put the raw tracks inside the file.
        """
        root, sides = session_root.resolve(), sides or {}
        members = {
            stem.name: [t for t in plan.tracks if t.subgroup == stem.name] for stem in plan.stems
        }
        top_db = amplitude_to_db(FADER_MAX)
        shares_db = {
            name: max([0.0, *(track.gain_db - top_db for track in tracks)])
            for name, tracks in members.items()
        }
        faders_db = {
            stem.name: stem.settings["gain_db"] + shares_db[stem.name] + _plain_makeup_db(stem)
            for stem in plan.stems
        }
        given_db = max([0.0, *(level - top_db for level in faders_db.values())])
        self.add_bus(plan, given_db=given_db)
        for stem in plan.stems:
            parent, destination, name = self._bus, self._bus_id, spoken(stem.name)
            mute = stem.mute
            if stem.name in sides:
                parent, channel = self._group(
                    self._bus, name, stem.reason, destination=self._bus_id
                )
                self._mixer(channel, volume=1.0, pan=0.0, mute=stem.mute)
                destination, name, mute = channel.get("id", ""), f"{name}: strip", False
            element, channel = self._group(
                parent, name, _strip_comment(stem), destination=destination
            )
            self._strip(
                channel,
                stem,
                fader_db=faders_db[stem.name] - given_db,
                threshold_db=stem.level_lufs + stem.settings["threshold_lu"] - shares_db[stem.name],
                mute=mute,
            )
            for track in members[stem.name]:
                self._raw_track(
                    element, channel.get("id", ""), track, root, -shares_db[stem.name], embed=embed
                )
            if stem.name in sides:
                self._sides(parent, destination, stem, sides[stem.name], -given_db, embed=embed)

    def add_bus(self, plan: Plan, *, given_db: float = 0.0) -> None:
        """Add the group that every stem runs into: equaliser, compressor, limiter and the trim.

        It stands before the master, so that a reference beside it is played as it is.

        Parameters
        ----------
        given_db
            Gain that the stems' faders hand on to the limiter's input.
        """
        bus = plan.bus
        self._bus, channel = self._group(
            self.structure, "Mix bus", APPROXIMATE.strip(), destination=self.master_id
        )
        self._bus_id = channel.get("id", "")
        devices = ET.SubElement(channel, "Devices")
        self._equalisers(devices, "Bus EQ", BUS_EQ_BANDS, bus)
        self._compressor(devices, bus, threshold_db=WORKING_LUFS + bus["threshold_lu"] - given_db)
        drive_db = bus["gain_db"] + given_db + (bus["makeup_db"] if bus["ratio"] <= 1 else 0)
        limiter = self._device(devices, "Limiter", "Limiter")
        self._real(limiter, "InputGain", drive_db, "decibel")
        self._real(limiter, "Threshold", plan.delivery.limiter_ceiling_dbtp, "decibel")
        self._mixer(channel, volume=db_to_amplitude(plan.delivery.trim_db), pan=0.0, mute=False)

    def _group(
        self, parent: ET.Element, name: str, comment: str, *, destination: str
    ) -> tuple[ET.Element, ET.Element]:
        """Add an empty group; return it and its channel, which still lacks devices and fader."""
        attributes = {"contentType": "tracks", "loaded": "true", "id": self._new_id()}
        attributes |= {"name": xml_text(name), "comment": xml_text(comment)}
        group = ET.SubElement(parent, "Track", attributes)
        return group, self._channel(group, role="submix", destination=destination)

    def _strip(
        self,
        channel: ET.Element,
        stem: StemPlan,
        *,
        fader_db: float,
        threshold_db: float,
        mute: bool,
    ) -> None:
        settings = stem.settings
        devices = ET.SubElement(channel, "Devices")
        self._equalisers(devices, f"{spoken(stem.name)} EQ", STRIP_EQ_BANDS, settings)
        self._compressor(devices, settings, threshold_db=threshold_db)
        self._mixer(channel, volume=db_to_amplitude(fader_db), pan=settings["pan"], mute=mute)

    def _sides(
        self,
        parent: ET.Element,
        destination: str,
        stem: StemPlan,
        audio: Path,
        gain_db: float,
        *,
        embed: bool,
    ) -> None:
        name = f"{spoken(stem.name)}: width and spread"
        comment = "What no device of the format can do, as audio: the sides of this stem."
        element = self._audio_track(parent, name, comment)
        channel = self._channel(element, role="regular", destination=destination)
        self._mixer(channel, volume=db_to_amplitude(gain_db - SIDES_DB), pan=0.0, mute=False)
        self._clip(element.get("id", ""), name, audio, embed=embed)

    def _raw_track(
        self,
        group: ET.Element,
        destination: str,
        track: TrackPlan,
        root: Path,
        share_db: float,
        *,
        embed: bool,
    ) -> None:
        name = track.path.rpartition("/")[2]
        comment = f"{track.role}: {track.reason}" if track.reason else track.role
        comment += _raw_comment(track)
        element = self._audio_track(group, name, comment)
        channel = self._channel(element, role="regular", destination=destination)
        self._mixer(
            channel,
            volume=db_to_amplitude(track.gain_db + share_db),
            pan=track.pan,
            mute=track.mute,
        )
        self._clip(
            element.get("id", ""), name, root / track.path, time_s=track.offset_s, embed=embed
        )

    def add_audio_track(
        self, name: str, audio: Path, *, mute: bool, embed: bool = False, through_bus: bool = True
    ) -> None:
        """Add one track at neutral settings that plays one file from the start.

        ``through_bus=False`` sends it straight to the master, past the mix's own devices.
        """
        parent, destination = self.structure, self.master_id
        if through_bus:
            parent, destination = self._bus, self._bus_id
        element = self._audio_track(parent, name, "")
        channel = self._channel(element, role="regular", destination=destination)
        self._mixer(channel, volume=1.0, pan=0.0, mute=mute)
        self._clip(element.get("id", ""), name, audio, embed=embed)

    def add_master(self) -> None:
        """Add the master, which changes nothing."""
        master = ET.SubElement(
            self.structure,
            "Track",
            contentType="audio notes",
            loaded="true",
            id=self.master_track,
            name="Master",
        )
        channel = self._channel(master, role="master", identity=self.master_id)
        self._mixer(channel, volume=1.0, pan=0.0, mute=False)

    def _audio_track(self, parent: ET.Element, name: str, comment: str) -> ET.Element:
        attributes = {"contentType": "audio", "loaded": "true", "id": self._new_id()}
        attributes["name"] = xml_text(name)
        if comment:
            attributes["comment"] = xml_text(comment)
        return ET.SubElement(parent, "Track", attributes)

    def _channel(
        self, track: ET.Element, *, role: str, destination: str = "", identity: str = ""
    ) -> ET.Element:
        attributes = {"audioChannels": "2", "role": role, "solo": "false"}
        if destination:
            attributes["destination"] = destination
        return ET.SubElement(track, "Channel", attributes, id=identity or self._new_id())

    def _mixer(self, channel: ET.Element, *, volume: float, pan: float, mute: bool) -> None:
        self._bool(channel, "Mute", mute)
        self._real(channel, "Pan", (pan + 1.0) / 2.0, "normalized", low=0.0, high=1.0)
        self._real(channel, "Volume", volume, "linear", low=0.0, high=FADER_MAX)

    def _device(self, devices: ET.Element, kind: str, name: str) -> ET.Element:
        device = ET.SubElement(
            devices,
            kind,
            deviceName=xml_text(name),
            deviceRole="audioFX",
            loaded="true",
            id=self._new_id(),
            name=xml_text(name),
        )
        self._bool(device, "Enabled", True)
        return device

    def _equalisers(
        self,
        devices: ET.Element,
        name: str,
        bands: Sequence[EqBand],
        settings: Mapping[str, float],
    ) -> None:
        """Add the bands that do something, and the high-pass before them."""
        used = [
            (SHAPES[band.shape], *band_values(band, settings))
            for band in bands
            if settings[band.gain_name] != 0.0
        ]
        high_pass_hz = high_pass(settings)
        if high_pass_hz is not None:
            used.insert(0, ("highPass", 0.0, high_pass_hz, HIGH_PASS_Q))
        if not used:
            return
        device = self._device(devices, "Equalizer", name)
        for order, (shape, gain_db, frequency_hz, q) in enumerate(used):
            element = ET.SubElement(device, "Band", type=shape, order=str(order))
            self._real(element, "Freq", frequency_hz, "hertz")
            self._real(element, "Gain", gain_db, "decibel")
            self._real(element, "Q", q, "linear")
            self._bool(element, "Enabled", True)

    def _compressor(
        self, devices: ET.Element, settings: Mapping[str, float], *, threshold_db: float
    ) -> None:
        if settings["ratio"] <= 1.0:
            return
        device = self._device(devices, "Compressor", "Compressor")
        self._real(device, "Attack", settings["attack_ms"] / 1000.0, "seconds")
        self._bool(device, "AutoMakeup", False)
        self._real(device, "OutputGain", settings["makeup_db"], "decibel")
        self._real(device, "Ratio", settings["ratio"], "linear")
        self._real(device, "Release", settings["release_ms"] / 1000.0, "seconds")
        self._real(device, "Threshold", threshold_db, "decibel")

    def _clip(
        self,
        track_id: str,
        name: str,
        audio: Path,
        *,
        time_s: float = 0.0,
        embed: bool = False,
    ) -> None:
        info = probe(audio)
        duration = _number(info.frames / info.sample_rate)
        lane = ET.SubElement(self.lanes, "Lanes", track=track_id, id=self._new_id())
        clips = ET.SubElement(lane, "Clips", id=self._new_id())
        clip = ET.SubElement(
            clips,
            "Clip",
            time=_number(time_s),
            duration=duration,
            contentTimeUnit="seconds",
            playStart="0",
            fadeTimeUnit="seconds",
            name=xml_text(name),
        )
        element = ET.SubElement(
            clip,
            "Audio",
            channels=str(info.channels),
            duration=duration,
            sampleRate=str(info.sample_rate),
            id=self._new_id(),
        )
        where = self._external(audio)
        if embed or xml_text(where) != where:  # a name that XML cannot hold cannot be referred to
            ET.SubElement(element, "File", path=self._embed(name, audio))
        else:
            ET.SubElement(element, "File", path=where, external="true")

    def _external(self, audio: Path) -> str:
        reference = None if self._refer is None else self._refer(audio)
        if reference is not None:
            return reference
        target = audio.resolve()
        try:
            return Path(os_path.relpath(target, self.folder)).as_posix()
        except ValueError:  # another drive has no relative path
            return target.as_posix()

    def _embed(self, name: str, audio: Path) -> str:
        """Return a name inside the zip that is safe to unpack anywhere."""
        stem = (
            re.sub(r"[^A-Za-z0-9 _-]+", "_", name.removesuffix(audio.suffix))[:60].strip(" _")
            or "audio"
        )
        suffix = re.sub(r"[^A-Za-z0-9.]", "", audio.suffix)[:8].lower()
        inside = f"audio/{len(self.embedded) + 1:03d} {stem}{suffix}"
        self.embedded[inside] = audio
        return inside

    def _new_id(self) -> str:
        return f"id{next(self._ids)}"

    def _bool(self, parent: ET.Element, tag: str, value: bool) -> None:
        ET.SubElement(parent, tag, value=str(value).lower(), id=self._new_id(), name=tag)

    def _real(
        self,
        parent: ET.Element,
        tag: str,
        value: float,
        unit: str,
        *,
        low: float | None = None,
        high: float | None = None,
    ) -> None:
        attributes = {"unit": unit, "value": _number(value), "id": self._new_id(), "name": tag}
        if low is not None:
            attributes["min"] = _number(low)
        if high is not None:
            attributes["max"] = _number(high)
        ET.SubElement(parent, tag, attributes)


def _plain_makeup_db(stem: StemPlan) -> float:
    """Return the gain that is left of a compressor which does not compress."""
    return stem.settings["makeup_db"] if stem.settings["ratio"] <= 1.0 else 0.0


def _raw_comment(track: TrackPlan) -> str:
    """Return what the mix makes of a file before it plays it, for which the format has no word."""
    conditioning = track.conditioning
    parts = []
    if any(conditioning.dc) or conditioning.dc_highpass_hz:
        parts.append("its DC is taken out")
    if conditioning.channels in _CHANNELS:
        parts.append(_CHANNELS[conditioning.channels])
    return f"; the file plays here as it is: in the mix {' and '.join(parts)}" if parts else ""


def _strip_comment(stem: StemPlan) -> str:
    parts = [stem.reason] if stem.reason else []
    if stem.settings["width"] != 1.0:
        parts.append(f"side gain {stem.settings['width']:.2f}")
    if stem.settings["spread"] != 0.0:
        parts.append(f"spread {stem.settings['spread']:.2f}")
    if stem.settings["ratio"] > 1.0:
        parts.append(f"knee {stem.settings['knee_db']:.1f} dB")
    return "; ".join(parts)


def _own_version() -> str:
    try:
        return version("stemwright")
    except PackageNotFoundError:
        return "0"
