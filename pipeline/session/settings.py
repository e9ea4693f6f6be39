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
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
)
from pydantic.dataclasses import dataclass as record

from pipeline.audio.stream import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from pipeline.console.conditioning import ChannelUse
from pipeline.errors import InputError
from pipeline.roles import UTILITY_ROLES, Presence, Role, Subgroup
from pipeline.session.timecode import StampUse
from pipeline.text_files import parse_toml, read_text
from pipeline.validation import Location, Number, Switch, Whole, invalid, problems_from

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

_SUBGROUP_NAME = r"^[A-Za-z0-9_ -]*[A-Za-z0-9][A-Za-z0-9_ -]*$"


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


def _canonical(text: str) -> str:
    return re.sub(r"[ -]+", "_", text.strip().lower())


def _spelled(kind: type[StrEnum]) -> BeforeValidator:
    """Take the name of a member however it is spelled."""
    known = {str(member) for member in kind}

    def read(value: object) -> object:
        return _canonical(value) if isinstance(value, str) and _canonical(value) in known else value

    return BeforeValidator(read)


def _tables(what: str, remedy: str, kind: type) -> BeforeValidator:
    """Refuse what holds no tables."""

    def read(value: object) -> object:
        inner: Any = value.values() if isinstance(value, dict) else value
        if isinstance(value, kind) and all(isinstance(table, dict) for table in inner):
            return value
        raise invalid(what, remedy)

    return BeforeValidator(read)


_CONFIG = ConfigDict(extra="forbid")
_Level = Annotated[Number, Field(ge=-40.0, le=40.0)]


@record(frozen=True, config=_CONFIG)
class TrackRule:
    """One ``[[track]]`` of the file: a glob, and what it sets; None where it sets nothing."""

    match: str = Field(
        min_length=1,
        json_schema_extra={"remedy": 'give a glob, such as match = "Drums/*kick*"'},
    )
    role: Annotated[Role, _spelled(Role)] | None = None
    subgroup: (
        Annotated[
            str,
            Field(max_length=64, pattern=_SUBGROUP_NAME),
            AfterValidator(_canonical),
        ]
        | None
    ) = Field(
        default=None,
        json_schema_extra={
            "remedy": "use letters, digits, spaces, '_' and '-', such as 'room mics'"
        },
    )
    presence: Annotated[Presence, _spelled(Presence)] | None = None
    gain_db: Number | None = Field(default=None, ge=-60.0, le=60.0)
    pan: Number | None = Field(default=None, ge=-1.0, le=1.0)
    mute: Switch | None = None
    invert: Switch | None = None
    channels: Annotated[ChannelUse, _spelled(ChannelUse)] | None = None
    use: Switch | None = None
    start_s: Number | None = Field(default=None, ge=0.0, le=86_400.0)


def _table(name: str, fields: dict[str, Any]) -> Any:
    return create_model(name, __config__=_CONFIG, **fields)


_Offsets = _table(
    "Offsets",
    {
        name: (_table(name, dict.fromkeys(keys, (_Level, 0.0))), None)
        for name, keys in OFFSET_KEYS.items()
    },
)


class _File(BaseModel):
    """What stands in the file."""

    model_config = _CONFIG

    sample_rate: Whole | None = Field(
        default=None, ge=LOWEST_RATE_HZ, le=HIGHEST_RATE_HZ, json_schema_extra={"unit": "Hz"}
    )
    track: Annotated[
        list[TrackRule],
        _tables("is no list of tables", "write [[track]] over each entry", list),
    ] = []
    offsets: Annotated[
        _Offsets,  # type: ignore[valid-type]
        _tables("are no tables", "write [offsets.role] over the levels", dict),
    ] = Field(default_factory=_Offsets)
    time_stamps: Annotated[StampUse, _spelled(StampUse)] = StampUse.AUTO
    full_length: Switch = False


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
        overrides = dict.fromkeys(names, TrackOverrides())
        unmatched = []
        for rule in self.rules:
            hits = _hits(rule.match, names)
            if not hits:
                unmatched.append(rule.match)
            for name in hits:
                overrides[name] = _applied(rule, overrides[name])
        return {name: self._kept(name, overrides[name]) for name in overrides}, tuple(unmatched)

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
    given = {key: value for key, value in vars(rule).items() if value is not None}
    del given["match"]
    if "gain_db" in given:
        given["gain_offset_db"] = given.pop("gain_db")
    return replace(overrides, **given)


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

    def subject(location: Location) -> str:
        if location[:1] == ("track",) and len(location) > 2:
            return f"{path.name} [track {int(location[1]) + 1}]"
        place = ".".join(map(str, location[:-1]))
        return f"{path.name} [{place}]" if place else path.name

    try:
        file = _File.model_validate(raw)
    except ValidationError as error:
        raise InputError(problems_from(error, _File, subject, key_in_subject=False)) from error
    settings = SessionSettings(
        file.sample_rate,
        tuple(file.track),
        file.model_dump(include={"offsets"}, exclude_unset=True).get("offsets", {}),
        file.time_stamps,
        file.full_length,
    )
    literals = {rule.match: _literal(rule.match) for rule in settings.rules}
    folder = str(path.parent)
    exact = (
        match
        for match, name in literals.items()
        if name is not None and os.path.isfile(os.path.join(folder, name))  # noqa: PTH113, PTH118
    )
    return replace(settings, exact=frozenset(exact))
