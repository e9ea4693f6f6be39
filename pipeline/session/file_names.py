"""What the name of a file in a session says: audio, a placeholder, half a download, or neither."""

from __future__ import annotations

from enum import Enum
from pathlib import PurePosixPath

from pipeline.audio.info import AUDIO_SUFFIXES, UNREADABLE_SUFFIXES

__all__ = ["NamedAs", "inner_name", "named_as"]

_AUDIO = AUDIO_SUFFIXES | UNREADABLE_SUFFIXES

_CLOUD = frozenset({".icloud", ".cloud", ".cloudf"})
_UNFINISHED = frozenset(
    """.part .partial .crdownload .download .opdownload .filepart .aria2 .!ut .!qb .bc! .td .xltd
    .ytdl .unconfirmed .tmp .temp .incomplete""".split()  # noqa: SIM905
)
_BACKUPS = frozenset({".bak", ".old", ".orig", ".backup", ".bck", ".sav"})

_ARCHIVES = frozenset(
    ".zip .rar .7z .tar .gz .tgz .bz2 .xz .zst .dmg .iso .sit .sitx".split()  # noqa: SIM905
)
_MIDI = frozenset({".mid", ".midi", ".kar", ".smf"})

# Hold no audio, whatever their content may look like; everything else is looked into.
_OTHER = frozenset(
    """.txt .md .rtf .pdf .doc .docx .odt .pages .html .htm .xml .json .toml .yaml .yml .csv .tsv
    .xls .xlsx .ods .numbers .ini .cfg .log .nfo .url .webloc .lnk .desktop .py .sh .bat .ps1
    .jpg .jpeg .png .gif .bmp .tif .tiff .webp .heic .svg .psd .ai .ico
    .ptx .ptf .pts .ptxt .logicx .logic .band .cpr .npr .csh .bwproject .als .alp .asd .adg .adv
    .rpp .rpp-bak .reapeaks .song .flp .fst .aup .aup3 .ardour .cwp .cwb .vip .sesx .omf .aaf .edl
    .tracktionedit .dpdoc .reason .mmpz .xrns .hprj .dawproject .musicxml .mxl .mscz .sib .gp .gp5
    .pk .pkf .peak .peaks .ovw .sfk .sfl .sfap0 .wfm .asx .m3u .m3u8 .pls .cue .srt .vtt .lrc
    .fxp .fxb .vstpreset .aupreset .nki .nkm .sfz .sf2 .sf3 .exs .dll .exe .so .dylib .db .sqlite
    .md5 .sha1 .sha256 .sfv .par2 .torrent .parquet .pyc""".split()  # noqa: SIM905
)
_OTHER_NAMES = frozenset({"thumbs.db", "desktop.ini", "icon\r", "readme", "license", "makefile"})


class NamedAs(Enum):
    """What the name of a file says of it."""

    AUDIO = "audio"
    UNKNOWN = "unknown"
    """No suffix, or one that says nothing: its content tells."""
    CLOUD = "cloud"
    """Stands in for a file that is not on this machine."""
    UNFINISHED = "unfinished"
    """A download or a copy that is not whole; :func:`inner_name` or its content tells of what."""
    BACKUP = "backup"
    ARCHIVE = "archive"
    MIDI = "midi"
    OTHER = "other"


def named_as(name: str) -> NamedAs:
    """Say what a file's name, without its folder, makes of it.

    Examples
    --------
    >>> [named_as(name).value for name in ("Kick.wav ", "Vox", ".Kick.wav.icloud", "Kick.wav.part")]
    ['audio', 'unknown', 'cloud', 'unfinished']
    >>> [named_as(name).value for name in ("Kick.wav.asd", "Kick.wav~", "Take.1")]
    ['other', 'backup', 'unknown']
    """
    if name.casefold() in _OTHER_NAMES:
        return NamedAs.OTHER
    plain = name.rstrip(" .\t")  # some systems and archives leave such an end
    suffix, inner = _suffix(plain), _suffix(PurePosixPath(plain).stem)
    named = NamedAs.UNKNOWN
    if suffix in _AUDIO:
        named = NamedAs.AUDIO
    elif suffix in _CLOUD and (inner in _AUDIO or inner == ""):
        named = NamedAs.CLOUD
    elif suffix in _UNFINISHED:
        named = NamedAs.UNFINISHED
    elif suffix in _BACKUPS or suffix.endswith("~"):
        named = NamedAs.BACKUP
    elif suffix in _ARCHIVES:
        named = NamedAs.ARCHIVE
    elif suffix in _MIDI:
        named = NamedAs.MIDI
    elif suffix in _OTHER or suffix in _CLOUD:
        named = NamedAs.OTHER
    return named


def _suffix(name: str) -> str:
    return PurePosixPath(name.lstrip(".")).suffix.casefold().strip()


def inner_name(name: str) -> str:
    """Return what a placeholder, an unfinished copy or a backup is called when it is whole.

    Examples
    --------
    >>> inner_name("Kick.wav.part"), inner_name("Kick.wav~")
    ('Kick.wav', 'Kick.wav')
    """
    return name.rstrip("~") if name.endswith("~") else PurePosixPath(name).stem
