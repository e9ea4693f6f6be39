"""``session.toml``: what the user says of a session's tracks, read strictly.

.. code-block:: toml

    sample_rate = 48000            # optional
    time_stamps = "auto"           # or "use", "ignore": whether they place the tracks
    full_length = false            # true keeps long silence after the last sound

    [[track]]
    match = "Drums/*kick*"         # a glob on the path in the session or on the file's name
    role = "kick"
    subgroup = "drums"
    presence = "lead"
    gain_db = -2.0
    pan = 0.0
    invert = false                 # polarity; without this line it is decided by the sound
    mute = false
    start_s = 0.0                  # on the song's time line, whatever its time stamp
    channels = "left"              # of a stereo file; without this line its sound decides
    use = true                     # keeps what would be left out; false leaves it out

    [offsets.role]                 # optional: levels that the balance aims at, in LU
    hi_hat = -6.0

Case does not matter in a glob, and of several entries that match a track the last one counts,
key by key.
"""

from __future__ import annotations

import fnmatch
import functools
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from pipeline.audio.stream import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from pipeline.console.conditioning import ChannelUse
from pipeline.errors import InputError, Problem, suggest
from pipeline.roles import UTILITY_ROLES, Presence, Role, Subgroup
from pipeline.session.timecode import StampUse
from pipeline.text_files import parse_toml, read_text, shown

__all__ = [
    "OFFSET_KEYS",
    "SESSION_TOML",
    "SessionSettings",
    "TrackOverrides",
    "TrackRule",
    "load_settings",
    "readable_settings",
]

SESSION_TOML = "session.toml"

_Choice = TypeVar("_Choice", bound=StrEnum)

_MOST_GAIN_DB = 60.0
_MOST_OFFSET_LU = 40.0
_LATEST_START_S = 86_400.0
_KEYS = ("sample_rate", "track", "offsets", "time_stamps", "full_length")
_RULE_KEYS = (
    "match",
    "role",
    "subgroup",
    "presence",
    "gain_db",
    "pan",
    "invert",
    "mute",
    "channels",
    "use",
    "start_s",
)
_SUBGROUP_NAME = re.compile(r"[A-Za-z0-9_ -]*[A-Za-z0-9][A-Za-z0-9_ -]*")


OFFSET_KEYS: dict[str, tuple[str, ...]] = {
    "role": tuple(str(role) for role in Role),
    "presence": tuple(str(presence) for presence in Presence),
    "position": ("close", "out", "bottom", "sub", "room", "di", "amp", "trigger"),
    "double": ("offset",),
    "stem": tuple(str(subgroup) for subgroup in Subgroup),
}
"""The tables of levels that ``[offsets.<table>]`` may change, and their keys."""


@dataclass(frozen=True)
class TrackOverrides:
    """What the user decided of one track; None where nothing was said.

    Parameters
    ----------
    subgroup
        Name of the stem, in lower case with underscores; it need not be one of ours.
    gain_offset_db
        Added to the gain that the balance decides.
    pan
        From -1, left, to 1, right.
    invert
        Whether its polarity is turned over.
    channels
        What is made of the file's channels.
    use
        True keeps a file that would be left out, false leaves it out. An entry that names the file
        exactly keeps it too, unless it gives it a role that is not for the mix.
    start_s
        Where it starts, in place of its time stamp.
    """

    role: Role | None = None
    subgroup: str | None = None
    presence: Presence | None = None
    gain_offset_db: float = 0.0
    pan: float | None = None
    mute: bool = False
    invert: bool | None = None
    channels: ChannelUse | None = None
    use: bool | None = None
    start_s: float | None = None


@dataclass(frozen=True)
class TrackRule:
    """One ``[[track]]`` of the file: a glob, and what it sets; None where it sets nothing."""

    match: str
    role: Role | None = None
    subgroup: str | None = None
    presence: Presence | None = None
    gain_db: float | None = None
    pan: float | None = None
    mute: bool | None = None
    invert: bool | None = None
    channels: ChannelUse | None = None
    use: bool | None = None
    start_s: float | None = None


@dataclass(frozen=True)
class SessionSettings:
    """All that ``session.toml`` says.

    Parameters
    ----------
    offsets
        For tables of :data:`OFFSET_KEYS` the levels that are other than ours, in LU.
    time_stamps
        Whether they place the tracks.
    full_length
        Whether long silence after the last sound is kept.
    exact
        Of the entries' globs those that are the name of a file that is there: they mean it alone.
    """

    sample_rate: int | None = None
    rules: tuple[TrackRule, ...] = ()
    offsets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    time_stamps: StampUse = StampUse.AUTO
    full_length: bool = False
    exact: frozenset[str] = frozenset()

    def overrides(self, names: Sequence[str]) -> tuple[dict[str, TrackOverrides], tuple[str, ...]]:
        """Apply the rules to the tracks of a session.

        Parameters
        ----------
        names
            POSIX paths of the tracks, relative to the session.

        Returns
        -------
        overrides : dict
            For each name what the rules set.
        unmatched : tuple of str
            Globs that match no track.
        """
        found = dict.fromkeys(names, TrackOverrides())
        unmatched = []
        for rule in self.rules:
            hits = _hits(rule.match, names)
            if not hits:
                unmatched.append(rule.match)
            for name in hits:
                found[name] = _applied(rule, found[name])
        return {name: self._kept(name, found[name]) for name in found}, tuple(unmatched)

    def _kept(self, name: str, overrides: TrackOverrides) -> TrackOverrides:
        """Keep a file that an entry names exactly, unless it says that it is none for the mix."""
        if overrides.use is not None or overrides.role in UTILITY_ROLES:
            return overrides
        return replace(overrides, use=self.uses(name))

    def uses(self, name: str) -> bool | None:
        """Whether a file is to be a track: what the last entry with ``use`` that matches it says.

        An entry that names the file exactly, without a wildcard, keeps it too. None where nothing
        was said.
        """
        use = None
        for rule in self.rules:
            if rule.use is None or not _hits(rule.match, [name]):
                continue
            # Some systems take names that differ in case for one.
            if rule.match not in self.exact or _folded(_literal(rule.match) or "") == _folded(name):
                use = rule.use
        if use is None and any(_literal(rule.match) == name for rule in self.rules):
            return True
        return use

    def keeps(self, name: str) -> bool:
        """Whether a file is a track wherever it lies."""
        return self.uses(name) is True


def _applied(rule: TrackRule, overrides: TrackOverrides) -> TrackOverrides:
    return TrackOverrides(
        role=overrides.role if rule.role is None else rule.role,
        subgroup=overrides.subgroup if rule.subgroup is None else rule.subgroup,
        presence=overrides.presence if rule.presence is None else rule.presence,
        gain_offset_db=overrides.gain_offset_db if rule.gain_db is None else rule.gain_db,
        pan=overrides.pan if rule.pan is None else rule.pan,
        invert=overrides.invert if rule.invert is None else rule.invert,
        mute=overrides.mute if rule.mute is None else rule.mute,
        channels=overrides.channels if rule.channels is None else rule.channels,
        use=overrides.use if rule.use is None else rule.use,
        start_s=overrides.start_s if rule.start_s is None else rule.start_s,
    )


def _folded(text: str) -> str:
    # macOS stores "é" as two code points, an editor writes one.
    return unicodedata.normalize("NFC", text).lower()


@functools.lru_cache(maxsize=4096)
def _literal(pattern: str) -> str | None:
    """Return the one name that a glob without a wildcard stands for."""
    plain = re.sub(r"\[([*?\[])\]", "\0", pattern)
    return None if re.search(r"[*?\[]", plain) else re.sub(r"\[([*?\[])\]", r"\1", pattern)


@functools.lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(_folded(pattern)))


def _hits(pattern: str, names: Sequence[str]) -> list[str]:
    literal = _literal(pattern)
    if literal is not None and literal in names:
        # Names may differ in case alone, or stand again in a subfolder: this one is meant.
        return [literal]
    wanted = _compiled(pattern).match
    return [
        name for name in names if wanted(_folded(name)) or wanted(_folded(name).rpartition("/")[2])
    ]


def readable_settings(root: Path) -> SessionSettings:
    """Return the settings of a session's folder; none where it has no file of them that is good."""
    try:
        return load_settings(root / SESSION_TOML)
    except InputError:
        return SessionSettings()


def load_settings(path: Path) -> SessionSettings:
    """Read a ``session.toml``.

    Raises
    ------
    InputError
        With every key and value that is wrong, each with its remedy.
    """
    raw = parse_toml(read_text(path, subject=path.name), path.name)
    reader = _Reader(path.name)
    settings = reader.settings(raw)
    if reader.problems:
        raise InputError(reader.problems)
    literals = {rule.match: _literal(rule.match) for rule in settings.rules}
    folder = str(path.parent)
    exact = (
        match
        for match, name in literals.items()
        if name is not None and os.path.isfile(os.path.join(folder, name))  # noqa: PTH113, PTH118
    )
    return replace(settings, exact=frozenset(exact))


class _Reader:
    """Turns the tables of the file into records, and collects what is wrong in them."""

    def __init__(self, file_name: str) -> None:
        self._file_name = file_name
        self.problems: list[Problem] = []

    def _wrong(self, where: str, what: str, remedy: str) -> None:
        subject = f"{self._file_name} [{where}]" if where else self._file_name
        self.problems.append(Problem(subject, what, remedy))

    def _keys(self, where: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
        for key in table:
            if key not in known:
                self._wrong(where, f"unknown key {shown(key)}", suggest(key, known))

    def settings(self, raw: Mapping[str, Any]) -> SessionSettings:
        self._keys("", raw, _KEYS)
        sample_rate = raw.get("sample_rate")
        if sample_rate is not None and not (
            type(sample_rate) is int and LOWEST_RATE_HZ <= sample_rate <= HIGHEST_RATE_HZ
        ):
            self._wrong(
                "",
                f"sample_rate is {shown(sample_rate)}",
                f"use a whole number of Hz from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}",
            )
            sample_rate = None
        tables = raw.get("track", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._wrong("", "track is no list of tables", "write [[track]] over each entry")
            tables = []
        rules = [self._rule(f"track {i}", table) for i, table in enumerate(tables, 1)]
        return SessionSettings(
            sample_rate,
            tuple(rules),
            self._offsets(raw.get("offsets", {})),
            self._choice("", raw, "time_stamps", StampUse) or StampUse.AUTO,
            bool(self._switch("", raw, "full_length")),
        )

    def _offsets(self, tables: object) -> dict[str, dict[str, float]]:
        if not isinstance(tables, dict) or not all(isinstance(t, dict) for t in tables.values()):
            self._wrong("", "offsets are no tables", "write [offsets.role] over the levels")
            return {}
        self._keys("offsets", tables, tuple(OFFSET_KEYS))
        found: dict[str, dict[str, float]] = {}
        for name, table in tables.items():
            if name in OFFSET_KEYS:
                where = f"offsets.{name}"
                self._keys(where, table, OFFSET_KEYS[name])
                levels = {key: self._number(where, table, key, _MOST_OFFSET_LU) for key in table}
                found[name] = {
                    key: level
                    for key, level in levels.items()
                    if level is not None and key in OFFSET_KEYS[name]
                }
        return found

    def _rule(self, where: str, table: Mapping[str, Any]) -> TrackRule:
        self._keys(where, table, _RULE_KEYS)
        match = table.get("match")
        if not isinstance(match, str) or not match:
            what = "match is missing" if match is None else f"match is {shown(match)}"
            self._wrong(where, what, 'give a glob, such as match = "Drums/*kick*"')
            match = ""
        return TrackRule(
            match=match,
            role=self._choice(where, table, "role", Role),
            subgroup=self._subgroup(where, table),
            presence=self._choice(where, table, "presence", Presence),
            gain_db=self._number(where, table, "gain_db", _MOST_GAIN_DB),
            pan=self._number(where, table, "pan", 1.0),
            invert=self._switch(where, table, "invert"),
            mute=self._switch(where, table, "mute"),
            channels=self._choice(where, table, "channels", ChannelUse),
            use=self._switch(where, table, "use"),
            start_s=self._number(where, table, "start_s", _LATEST_START_S, least=0.0),
        )

    def _choice(
        self, where: str, table: Mapping[str, Any], key: str, kind: type[_Choice]
    ) -> _Choice | None:
        value = table.get(key)
        if value is None:
            return None
        known = [str(member) for member in kind]
        if isinstance(value, str) and _canonical(value) in known:
            return kind(_canonical(value))
        self._wrong(
            where,
            f"unknown {key} {shown(value)}",
            suggest(shown(value).strip("'\"").lower(), known),
        )
        return None

    def _subgroup(self, where: str, table: Mapping[str, Any]) -> str | None:
        value = table.get("subgroup")
        if value is None:
            return None
        if isinstance(value, str) and len(value) <= 64 and _SUBGROUP_NAME.fullmatch(value):
            return _canonical(value)
        self._wrong(
            where,
            f"subgroup is {shown(value)}",
            "use letters, digits, spaces, '_' and '-', such as 'room mics'",
        )
        return None

    def _number(
        self,
        where: str,
        table: Mapping[str, Any],
        key: str,
        most: float,
        least: float | None = None,
    ) -> float | None:
        least = -most if least is None else least
        value = table.get(key)
        if value is None:
            return None
        if type(value) in (int, float) and least <= value <= most:  # no NaN, however large
            return float(value)
        self._wrong(where, f"{key} is {shown(value)}", f"use a number from {least:g} to {most:g}")
        return None

    def _switch(self, where: str, table: Mapping[str, Any], key: str) -> bool | None:
        value = table.get(key)
        if value is None or isinstance(value, bool):
            return value
        self._wrong(where, f"{key} is {shown(value)}", "use true or false")
        return None


def _canonical(text: str) -> str:
    return re.sub(r"[ -]+", "_", text.strip().lower())
