"""Which files of a session are bounces of the whole song, told by their names.

A mix that lies among its tracks would be heard twice, and a track taken for a mix would not be
heard at all. The second is worse: a name is a bounce only when nothing in it is an instrument.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum

__all__ = [
    "Bounce",
    "MixKind",
    "Part",
    "bounce",
    "frozen_copy_of",
    "mix_kind",
    "name_tokens",
    "part",
    "shared_tokens",
]


class Bounce(Enum):
    """How sure a name is to be that of a whole song."""

    NO = "no"
    LIKELY = "likely"
    """It says mix or master, and words that are neither an instrument nor the song's name."""
    SURE = "sure"


class MixKind(Enum):
    """What a mix of a whole song has in it."""

    FULL = "full"
    INSTRUMENTAL = "instrumental"
    VOCALS = "vocals"


class Part(Enum):
    """What a track's name says that it plays."""

    INSTRUMENT = "instrument"
    VOCALS = "vocals"
    NUMBERED = "numbered"
    """One of a workstation's tracks that nobody gave a name."""
    UNKNOWN = "unknown"


_BOUNCE = frozenset(
    """mix mixdown mixdwn mixdowns 2mix 2track twotrack master mastered mastering mstr premaster
    rough roughs bounce bounced bounces finalmix roughmix mixfinal mixmaster mastermix stereomix
    mixage mezcla mixagem missaggio mischung summe mixbus masterbus 2bus""".split()  # noqa: SIM905
)

# Folders that DAWs and engineers fill with bounces. "Masters" is none: it may hold multitracks.
_BOUNCE_FOLDER = frozenset({"bounce", "bounced", "bounces", "mixdown", "mixdowns"})

# Words that say which bounce, not what plays in it.
_NEUTRAL = frozenset(
    """a an and the of for to with on in at by from my our
    final new newest old latest last first second third main full whole song track file files audio
    stereo st lr l r left right interleaved int bus buss out output sum summed 2
    v ver version rev revision vs alt edit cut copy draft wip demo ref reference print printed
    export exported render rendered test temp tmp quick rough
    loud louder quiet unmastered limited unlimited compressed uncompressed dry wet clean dirty
    explicit radio tv album single extended short long instrumental instr inst karaoke acapella
    acappella a capella playback backing client approved approval done ok good best vinyl cd dvd
    streaming web youtube spotify itunes atmos mono headphone headphones car
    wav wave aif aiff flac mp3 ogg bit bits khz hz k db lufs bpm tempo key maj min major minor
    jan feb mar apr may jun jul aug sep oct nov dec january february march april june july august
    september october november december am pm today
    live session sessions multitrack multitracks stem stems tracks raw recording recordings
    pt part no nr take finale finished up down""".split()  # noqa: SIM905
)

# A word is an instrument when it is one of these, alone or in the plural,
_INSTRUMENT = frozenset(
    """bd sd sn snr hh hat hats oh ovh ohs tom ft rt tamb tam cym cow bell clap snap perc shk
    kit kik kck kd k1 k2 rm amb loop top tops bass bs sub di amp gtr gtrs git ac acgtr egtr elec eg
    ag slide pno pf rhodes wurli ep key keys syn synth pad lead ld arp pluck stab stabs seq 808 909
    str vln vla vc vlc cb brs tpt trp tbn trb hrn sax ten bari alto sop flt fl ob cl bsn wind winds
    vox voc vx vocs lv bv bvs bgv bgvs bgvox bvox gang choir adlib adlibs rap hook verse chorus
    harm harms harmony double doubles dbl fx sfx efx riser rise drop sweep hit hits noise sample
    spl talk dialog dialogue voice vo narr foley sitar oud erhu koto harp lute banjo uke ukulele
    mandolin mando dobro bouzouki fiddle viola cello violin orch brass reed oboe flute horn tuba
    piccolo clarinet bassoon recorder whistle pipe pipes bagpipe accordion bandoneon squeezebox
    organ hammond b3 clav clavinet harpsi celesta mallet vibes vibe marimba xylo glock timp
    timpani gong cajon conga bongo djembe tabla darbuka udu bata timbales guiro cabasa maraca
    maracas shaker cowbell woodblock block agogo triangle tri ride crash splash china hihat
    moog juno jupiter prophet minilogue mellotron nord roland korg dx7 theremin vocoder talkbox
    scratch scratches beat beats groove break breaks fill fills build verb reverb delay echo room
    rooms hall plate spring click clix metronome cue count guide dr drm drms dru trommel
    schlagzeug becken gitarre geige bratsche stimme gesang chor batterie caisse grosse guitare
    basse voix choeur bateria bombo caja guitarra bajo baixo voz coro teclado teclas piano cassa
    rullante chitarra basso voce coros violino viola cordes cuerdas archi metais vientos orgel
    klavier flugel bläser streicher saiten percussion strings
    """.split()  # noqa: SIM905
)

# or begins or ends with one of these, as "drumbus", "subkick" and "leadvox" do.
_INSTRUMENT_PART = tuple(
    """drum kick snare perc cymb hihat overhead guit bass synth piano rhodes organ string violin
    cello brass trumpet trombone vocal vox voice singer choir chor shaker tamb conga bongo clap
    keyboard keys pads horn flute clarin whist loop ambien ambian effect sample narra speech
    orchest ensemble quartet trio solo riff strum pick acoustic electr distor crunch fuzz leads
    rhythm perkus""".split()  # noqa: SIM905
)

# Of those that are sung, spoken or rapped,
_VOICE = frozenset(
    """vox voc vx vocs vocal vocals lv bv bvs bgv bgvs bgvox bvox gang choir adlib adlibs rap hook
    verse chorus harm harms harmony double doubles dbl talk dialog dialogue voice voices vo narr
    stimme gesang chor voix choeur voz coro voce coros lead ld sing singer singers""".split()  # noqa: SIM905
)
_VOICE_PART = ("vocal", "vox", "voice", "voca", "singer", "choir", "speech", "narra", "adlib")

# and of mixes, those that lack them, or have nothing else.
_INSTRUMENTAL = frozenset(
    """instrumental instrumentals instr inst beat beats beatless karaoke playback backing tv 2track
    twotrack minus music musik musique musica base""".split()  # noqa: SIM905
)
_ACAPELLA = frozenset("acapella acappella capella acapellas".split())  # noqa: SIM905

# What workstations call tracks that were given no name, besides what is neutral.
_TRACK = frozenset(
    """channel chan ch input in clip region spur kanal eingang piste entree pista canal traccia
    ingresso spoor spår sciezka ścieżka дорожка трек""".split()  # noqa: SIM905
)

_FROZEN = frozenset({"freeze", "frozen", "freezed", "frz"})

# Not an instrument there: "no vox mix", "mix minus guitar", "vocal up mix".
_WITHOUT = frozenset({"no", "without", "minus", "less"})
_VOCALS = frozenset({"vocal", "vocals", "vox", "voc"})
_LEVELS = frozenset({"up", "down"})

# A word, or a number; "MixFinal" and "Mix2" are two, "2Mix" and "808" are one.
_WORD = re.compile(r"2mix(?![a-z])|2track(?![a-z])|2bus(?![a-z])|[^\W\d_]+|\d+", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])|(?<=[A-Z])(?=[A-Z][a-z])")


def name_tokens(name: str) -> list[str]:
    """Return the words and numbers of a name in lower case.

    Examples
    --------
    >>> name_tokens("MySong_RoughMix-v2")
    ['my', 'song', 'rough', 'mix', 'v', '2']
    """
    parts = _CAMEL.sub(" ", unicodedata.normalize("NFC", name))
    return [word.lower() for word in _WORD.findall(parts)]


def _is_instrument(word: str) -> bool:
    return (
        word in _INSTRUMENT
        or word.removesuffix("s") in _INSTRUMENT
        or word.startswith(_INSTRUMENT_PART)
        or word.endswith(_INSTRUMENT_PART)
    )


def shared_tokens(stems: Iterable[str]) -> frozenset[str]:
    """Return the words that at least half of three or more file names share: the song's name."""
    names = [frozenset(name_tokens(stem)) for stem in stems]
    if len(names) < 3:
        return frozenset()
    counts = Counter(word for name in names for word in name)
    return frozenset(
        word
        for word, count in counts.items()
        if 2 * count >= len(names) and not _is_instrument(word) and word not in _BOUNCE
    )


def bounce(
    stem: str,
    *,
    folders: Sequence[str] = (),
    song: str = "",
    song_tokens: frozenset[str] = frozenset(),
) -> Bounce:
    """Say whether a file is a bounce of the whole song.

    Parameters
    ----------
    stem
        File name without its suffix.
    folders
        Names of the subfolders that it lies in.
    song
        Name of the session's folder.
    song_tokens
        Words that the file names share, see :func:`shared_tokens`.

    Examples
    --------
    >>> bounce("Rough Mix 2"), bounce("Drum Mix")
    (<Bounce.SURE: 'sure'>, <Bounce.NO: 'no'>)
    """
    folder_tokens = [set(name_tokens(folder)) for folder in folders]
    if any(_is_instrument(word) for tokens in folder_tokens for word in tokens):
        return Bounce.NO  # "Drums/Mix" is the drums' mix
    title = name_tokens(song)
    named = name_tokens(stem)
    informative = _informative(_without(named, title) if _is_title(title) else named)
    if any(_is_instrument(word) for word in informative):
        return Bounce.NO
    in_bounces = any(
        tokens & _BOUNCE_FOLDER and tokens <= _BOUNCE_FOLDER | {"files", "audio"}
        for tokens in folder_tokens
    )
    if not in_bounces and not any(word in _BOUNCE for word in informative):
        return Bounce.NO
    known = song_tokens.union(title, _BOUNCE, _NEUTRAL, _WITHOUT)
    strange = any(w not in known and not w.isdigit() and len(w) > 1 for w in informative)
    return Bounce.LIKELY if strange else Bounce.SURE


def _is_title(title: Sequence[str]) -> bool:
    """Whether a folder's name can be a song's, "Bass Face" but not "Drums Live"."""
    return any(not _is_instrument(w) and w not in _NEUTRAL | _BOUNCE for w in title)


def _without(tokens: list[str], title: list[str]) -> list[str]:
    """Return the words less the first run of them that is the title."""
    size = len(title)
    for start in range(len(tokens) - size + 1):
        if tokens[start : start + size] == title:
            return tokens[:start] + tokens[start + size :]
    return tokens


def _informative(tokens: list[str]) -> list[str]:
    """Return the words less the instruments that a bounce is said to lack or to have louder."""
    kept: list[str] = []
    for i, word in enumerate(tokens):
        before = tokens[i - 1] if i else ""
        after = tokens[i + 1] if i + 1 < len(tokens) else ""
        if before in _WITHOUT or (word in _VOCALS and after in _LEVELS):
            continue
        kept.append(word)
    return kept


def mix_kind(stem: str) -> MixKind:
    """Say what a mix of the whole song has in it, by its file's name without suffix.

    Examples
    --------
    >>> [mix_kind(name).value for name in ("Instrumental (Mastered)", "Mix no vox", "Acapella Mix")]
    ['instrumental', 'instrumental', 'vocals']
    """
    named = name_tokens(stem)
    if any(word in _ACAPELLA for word in named):
        return MixKind.VOCALS
    without_voice = any(
        first in _WITHOUT and second in _VOCALS for first, second in itertools.pairwise(named)
    )
    instrumental = without_voice or any(word in _INSTRUMENTAL for word in named)
    return MixKind.INSTRUMENTAL if instrumental else MixKind.FULL


def part(stem: str) -> Part:
    """Say what a track plays, as far as its name tells without much knowledge.

    Examples
    --------
    >>> [part(name).value for name in ("Lead Vox", "Kick In", "Anna", "Audio 07")]
    ['vocals', 'instrument', 'unknown', 'numbered']
    """
    named = name_tokens(stem)
    if any(word in _VOICE or word.startswith(_VOICE_PART) for word in named):
        # A "Lead Guitar" is none, and "Vox" is an amplifier too.
        other = {w for w in named if _is_instrument(w)} - _VOICE
        return Part.INSTRUMENT if any(not w.startswith(_VOICE_PART) for w in other) else Part.VOCALS
    if any(map(_is_instrument, named)):
        return Part.INSTRUMENT
    plain = all(word.isdigit() or word in _NEUTRAL | _TRACK for word in named)
    return Part.NUMBERED if plain and any(map(str.isdigit, named)) else Part.UNKNOWN


def frozen_copy_of(stem: str) -> tuple[str, ...] | None:
    """Return the words of the track that a frozen file is made of; None for any other file.

    Examples
    --------
    >>> frozen_copy_of("Freeze Bass [2024-03-01 120000]"), frozen_copy_of("Bass")
    (('bass',), None)
    """
    named = name_tokens(re.sub(r"\[[\d\s:_-]*\]", "", stem))
    rest = tuple(word for word in named if word not in _FROZEN)
    return rest if rest and len(rest) < len(named) else None
