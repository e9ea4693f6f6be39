"""The demo session's 112 tracks: what plays what, and how an engineer named and saved it."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.demo.stage import (
    Part,
    effect,
    mic,
    played,
    silence,
    spread,
    strokes,
    sung,
    trigger,
)
from pipeline.demo.stage import TrackSpec as Track
from pipeline.synth.score import Note, Song

__all__ = ["TRACKS"]

_CD = 44100
# Rhythms of a bar of sixteenths: X, x, o strike, - holds, . rests.
_LONG = "X---------------"
_HALVES = "X-------x-------"
_DRIVE = "X--X--X-X--X--X-"
_EIGHTHS = "X-x-x-x-X-x-x-x-"
_STRUM = "X--xx-x-X-xx-xx-"
_SKANK = "..X...X...X...Xx"
_FUNK = "X..xo.x..xX.o.x."
_STABS = "X..X............"
_COMP = "X---x-x-x---x---"


def chords(
    plays: str, rhythm: str, centre: float, *, size: int = 3, strum_s: float = 0.0,
    bass: bool = False,
) -> Part:  # fmt: skip
    """Return a part of chords; see :meth:`pipeline.synth.score.Song.chords`."""
    return lambda song: song.chords(
        plays, rhythm, centre=centre, size=size, strum_s=strum_s, bass=bass
    )


def line(plays: str, rhythm: str, centre: float, tone: int = 0) -> Part:
    """Return a part of one voice; see :meth:`pipeline.synth.score.Song.line`."""
    return lambda song: song.line(plays, rhythm, centre=centre, tone=tone)


def arpeggio(plays: str, centre: float, every: int, *, gate: float = 0.9) -> Part:
    """Return a part of broken chords; see :meth:`pipeline.synth.score.Song.arpeggio`."""
    return lambda song: song.arpeggio(plays, centre=centre, rate=every, gate=gate)


def bass(plays: str, rhythm: str, low: int = 28) -> Part:
    """Return a bass part; see :meth:`pipeline.synth.score.Song.bass`."""
    return lambda song: song.bass(plays, rhythm, low=low)


def melody(plays: str, centre: float, voice: int = 0, busy: float = 0.5) -> Part:
    """Return a sung part; see :meth:`pipeline.synth.score.Song.melody`."""
    return lambda song: song.melody(plays, centre=centre, voice=voice, busy=busy)


def under(part: Part, steps: int) -> Part:
    """Return ``part`` moved by a number of steps of the scale."""
    return lambda song: song.harmony(part(song), steps)


def both(*parts: Part) -> Part:
    """Return parts that one player plays one after the other."""

    def joined(song: Song) -> Sequence[Note]:
        return sorted(note for part in parts for note in part(song))

    return joined


_BASS = both(bass("v", "X-----X-x-----x-"), bass("cbC", "X-xx--X-X-x-x-X-"))
_LEAD = both(melody("v", 60, busy=0.7), melody("cbC", 64))
_CHORUS = melody("cC", 64)
_ANSWER = melody("bC", 67, voice=3, busy=0.15)
_SOLO = melody("iC", 74, voice=5, busy=0.9)
_HORNS = line("cC", "X.x---..X-X.....", 70)
_RHYTHM = chords("cC", _STRUM, 52, strum_s=0.008)
_POWER = chords("cC", _DRIVE, 45, size=2)
_ACOUSTIC = chords("ivcC", _STRUM, 55, size=4, strum_s=0.012)
_PIANO = chords("vcC", _COMP, 60, bass=True)

# fmt: off
_DRUMS = (
    Track("01_Kick In.wav", -4.0, mic("kick_in")),
    Track("02_Kick-Out_U47.wav", -7.5, mic("kick_out")),
    Track("03_Kick Sub.wav", -9.0, mic("kick_sub")),
    Track("SNR TOP 57.wav", -3.0, mic("snare_top")),
    Track("SNR BOT 441.wav", -10.0, mic("snare_bottom")),
    Track("Snare 2.wav", -8.0, mic("snare2"), cut=True),
    Track("HH.wav", -12.0, mic("hat")),
    Track("Rack Tom 1.wav", -7.0, mic("tom1")),
    Track("Rack Tom 2.wav", -6.0, mic("tom2")),
    Track("Floor Tom L.wav", -5.5, mic("floor")),
    Track("Floor Tom R.wav", -8.5, mic("floor2")),
    Track("OH L.wav", -9.0, mic("overhead_left")),
    Track("OH R.wav", -9.5, mic("overhead_right")),
    Track("Ride.wav", -14.0, mic("ride")),
    Track("Room Near L.wav", -11.0, mic("near_left")),
    Track("Room Near R.wav", -11.5, mic("near_right")),
    Track("Room Far L.wav", -15.0, mic("far_left"), subtype="FLOAT"),
    Track("Room Far R.wav", -15.0, mic("far_right"), subtype="FLOAT"),
    Track("Drum Trash Mono.wav", -6.0, mic("trash")),
    Track("Kick Trig Smp.aif", -2.0, trigger("kick_body", "kick_beater"), subtype="PCM_16"),
    Track("Snare Sample.aiff", -1.5, trigger("snare_head", "snare_wires"), subtype="PCM_16"),
)
_PERCUSSION = (
    Track("Perc/Shaker.wav", -14.0, strokes("vcC", shaker="XoxoXoxoXoxoXoxo")),
    Track("Perc/Tambourine_01.wav", -10.0, strokes("cC", tambourine="x.o.X.o.x.o.X.o.")),
    Track("Perc/Conga Hi.wav", -9.0, strokes("vC", conga_hi="X.oxo.x.X.oxo.xx")),
    Track("Perc/Conga Lo.wav", -8.0, strokes("vC", conga_lo="..x...X.x.....X.")),
    Track("Perc/Bongos.wav", -11.0, strokes("vb", bongo="X.xox.xoX.xox.xo"), _CD, cut=True),
    Track("Cowbell.aif", -12.0, strokes("C", cowbell="X...x...X...x...")),
    Track("CLAPS (all).wav", -7.0, spread(strokes("cC", clap="....X.......X..."), 1.3)),
    Track("Perc/Cabasa.wav", -16.0, strokes("ivb", cabasa="x.X.x.X.x.X.x.Xo")),
    Track("Perc - Güiro.wav", -13.0, strokes("vC", guiro="X..xX...X..xX...")),
    Track("Perc/Triangle.flac", -20.0, strokes("ibcC", triangle="X.......o......."), _CD),
    Track("Loop_Perc_ST.wav", -5.0, spread(strokes("vbcC",
        shaker="o.x.o.x.o.x.o.xx", block="X..x..x..x..X...", conga_hi="......x...x....."), 6.0),
        _CD, "PCM_16"),
)
_LOW = (
    Track("Bass DI.wav", -8.0, played("bass_di", _BASS, take="bass")),
    Track("Bass Amp SM7.wav", -6.0, played("bass_amp", _BASS, take="bass")),
    Track("Synth Sub.wav", -5.0, played("bass_sub", bass("cC", _HALVES, 28)), subtype="FLOAT"),
    Track("Moog Bass.flac", -9.0, played("bass_synth", bass("bC", "X.xX.xX.X.xX.xXx")), _CD),
)
_GUITARS = (
    Track("GTR Rhy L.flac", -9.0, played("guitar_crunch", _RHYTHM)),
    Track("GTR Rhy R.flac", -10.0, played("guitar_crunch", _RHYTHM)),
    Track("GTR Rhy L dbl.flac", -11.0, played("guitar_heavy", _POWER)),
    Track("GTR Rhy R dbl.flac", -11.5, played("guitar_heavy", _POWER)),
    Track("EGtr Crunch A 57.wav", -12.0,
          played("guitar_crunch", chords("vb", _EIGHTHS, 50, size=2)), cut=True),
    Track("EGtr Crunch B 121.wav", -8.0,
          played("guitar_crunch", chords("vb", _EIGHTHS, 57, size=2)), cut=True),
    Track("Gtr Muted L.wav", -13.0,
          played("guitar_muted", chords("v", _FUNK, 60, size=2)), _CD, cut=True),
    Track("Gtr Muted R.wav", -12.0,
          played("guitar_muted", chords("v", _FUNK, 63, size=2)), _CD, cut=True),
    Track("Gtr Clean Chorus ST.wav", -10.0,
          played("guitar_chorus", arpeggio("ivb", 57, 2, gate=1.8))),
    Track("GTR Skank.wav", -14.0, played("guitar_clean", chords("vC", _SKANK, 64, strum_s=0.004))),
    Track("GTR Lead 1.wav", -5.0, played("guitar_lead", _SOLO)),
    Track("GTR Lead 2 harm.wav", -7.0, played("guitar_lead", under(_SOLO, 2))),
    Track("AcGtr L.wav", -12.0, played("guitar_steel", _ACOUSTIC)),
    Track("AcGtr R.wav", -13.5, played("guitar_steel", _ACOUSTIC)),
    Track("Ac Gtr Nashville.wav", -17.0,
          played("guitar_steel", arpeggio("iv", 67, 2, gate=2.5)), cut=True),
    Track("Gtr trem amp (noisy).wav", -15.0,
          played("guitar_noisy", chords("vb", _HALVES, 57, strum_s=0.02)), subtype="PCM_16"),
)
_KEYS = (
    Track("Keys/Piano L.wav", -11.0, played("piano", _PIANO, take="piano", side=0)),
    Track("Keys/Piano R.wav", -11.5, played("piano", _PIANO, take="piano", side=1)),
    Track("Keys/Grand ST bridge.wav", -9.0,
          played("piano", chords("ibC", _LONG, 63, size=4, bass=True))),
    Track("Keys/Rhodes.wav", -12.0,
          played("electric_piano", chords("vb", "X--x------x-----", 59, size=4)), _CD, cut=True),
    Track("Keys/Wurli.aiff", -15.0, played("reed_piano", chords("cC", _SKANK, 60)), _CD),
    Track("Keys/Organ Leslie.wav", -10.0, played("organ", chords("cbC", _LONG, 60, bass=True))),
    Track("Keys/Clav DI.wav", -13.0, played("clavinet", chords("vC", _FUNK, 55, size=2))),
    Track("Keys/Vibes.ogg", -14.0, played("vibraphone", arpeggio("ivb", 67, 4)), _CD),
)
_SYNTHS = (
    Track("Synth Pad Warm.wav", -9.0,
          played("pad_warm", chords("vcbC", _LONG, 57, size=4)), subtype="FLOAT"),
    Track("Pad_Airy_ST.wav", -16.0, played("pad_air", chords("ibC", _LONG, 64)), _CD),
    Track("Arp 16ths.wav", -10.0, played("arp_saw", arpeggio("cC", 64, 1)), _CD, "PCM_16"),
    Track("Arp 2 (soft).ogg", -15.0, played("arp_sine", arpeggio("iv", 72, 2)), _CD, cut=True),
    Track("Syn Lead.wav", -8.0, played("synth_lead", _ANSWER), cut=True),
    Track("Syn Pluck.wav", -12.0, played("synth_pluck", arpeggio("vC", 69, 2)), _CD),
    Track("Poly Stabs.wav", -6.0, played("synth_stab", chords("cC", _STABS, 64, size=4))),
    Track("Synth Bells FM.wav", -18.0, played("bells", line("ibC", "X.......X...x...", 79)), _CD),
)
_STRINGS = tuple(
    Track(f"Strings/{name}.wav", peak_db, played(voice, line(plays, rhythm, centre, tone)))
    for name, voice, plays, rhythm, centre, tone, peak_db in (
        ("Vln 1 a", "violin", "vcC", _HALVES, 76, 0, -13.0),
        ("Vln 1 b", "violin", "vcC", _HALVES, 76, 0, -14.5),
        ("Vln 2 a", "violin", "vcC", _HALVES, 71, 1, -14.0),
        ("Vln 2 b", "violin", "vcC", _HALVES, 71, 1, -16.0),
        ("Vla a", "viola", "vcC", _LONG, 64, 0, -15.0),
        ("Vla b", "viola", "vcC", _LONG, 60, 1, -15.5),
        ("Vc a", "cello", "vbcC", _HALVES, 52, 0, -12.0),
        ("Vc b", "cello", "vbcC", _LONG, 47, 1, -13.0),
        ("Cb", "contrabass", "cbC", _LONG, 36, 0, -11.0),
    )
)
_WINDS = (
    Track("Brass/Tpt 1.wav", -6.0, played("trumpet", _HORNS)),
    Track("Brass/Tpt 2.wav", -8.0, played("trumpet", under(_HORNS, -2))),
    Track("Brass/Tpt 3.wav", -9.0, played("trumpet", under(_HORNS, -4))),
    Track("Brass/Tbn 1.wav", -8.5, played("trombone", under(_HORNS, -7))),
    Track("Brass/Tbn 2.wav", -10.0, played("trombone", under(_HORNS, -9))),
    Track("Brass/Sax A.wav", -7.0, played("sax", under(_HORNS, -5))),
    Track("Brass/Sax T.wav", -7.5, played("sax", under(_HORNS, -9))),
    Track("Brass/Sax B.wav", -9.0, played("sax", under(_HORNS, -16))),
    Track("Brass/Hrn in F.flac", -14.0, played("horn", line("bC", _LONG, 57)), _CD),
    Track("Flûte.wav", -16.0, played("flute", line("ibC", "X-x-x---X---..x-", 81)), _CD),
)
_VOCALS = (
    Track("LdVox_comp_03.wav", -3.5, sung("lead", _LEAD)),
    Track("Vox Dbl L.wav", -8.0, sung("double", _CHORUS, timing_ms=18.0)),
    Track("Vox Dbl R.wav", -9.5, sung("double", _CHORUS, timing_ms=18.0)),
    Track("Vox Adlib 1.wav", -10.0, sung("adlib", _ANSWER)),
    Track("Vox Adlib 2 HOT.wav", 0.0,
          sung("adlib", under(_ANSWER, 4)), subtype="PCM_16", clip_db=2.5),
    Track("Ld Vox whisper.wav", -22.0, sung("whisper", melody("v", 60, busy=0.7)), cut=True),
    Track("BGV Hi 1 L.wav", -14.0, sung("soprano", under(_CHORUS, 4))),
    Track("BGV Hi 1 R.wav", -13.0, sung("soprano", under(_CHORUS, 4))),
    Track("BGV Hi 2 L.wav", -12.0, sung("alto", under(_CHORUS, 2))),
    Track("BGV Hi 2 R.wav", -12.5, sung("alto", under(_CHORUS, 2))),
    Track("BGV Mid L.wav", -13.0, sung("tenor", under(_CHORUS, -3)), _CD),
    Track("BGV Mid R.wav", -15.0, sung("tenor", under(_CHORUS, -3)), _CD),
    Track("BGV Lo L.wav", -11.0, sung("bass", under(_CHORUS, -7))),
    Track("BGV Lo R.wav", -12.0, sung("bass", under(_CHORUS, -7))),
    Track("BGV Oohs ST.wav", -16.0,
          spread(sung("ooh", line("vb", _HALVES, 69), voices=2), 0.6), cut=True),
    Track("Chœur “Ah” L.wav", -18.0,
          sung("aah", line("bC", _LONG, 66), voices=4, timing_ms=30.0)),
    Track("Chœur “Ah” R.wav", -18.5,
          sung("aah", line("bC", _LONG, 61, 1), voices=4, timing_ms=30.0)),
    Track("Gang Vox.wav", -6.5,
          spread(sung("gang", line("C", "X-X-....X-X-....", 60), voices=3, timing_ms=25.0), 2.0)),
)
_EFFECTS = (
    Track("FX/Riser 4bar.wav", -10.0, effect("riser"), _CD),
    Track("FX/Impact.wav", -3.0, effect("impact"), _CD),
    Track("FX/Rev Cymbal.wav", -11.0, effect("reverse_cymbal"), cut=True),
    Track("FX/Vinyl noise.ogg", -24.0, effect("vinyl"), _CD),
    Track("FX/Sub Drop.wav", -6.0, effect("sub_drop"), subtype="FLOAT"),
    Track("FX/Whoosh “fast”.wav", -9.0, effect("whoosh"), _CD, "PCM_16", cut=True),
)
_SPARE = (Track("Talkback_unused.wav", -1.0, silence, subtype="PCM_16"),)
# fmt: on

TRACKS: tuple[Track, ...] = (
    *_DRUMS,
    *_PERCUSSION,
    *_LOW,
    *_GUITARS,
    *_KEYS,
    *_SYNTHS,
    *_STRINGS,
    *_WINDS,
    *_VOCALS,
    *_EFFECTS,
    *_SPARE,
)
"""Every track of the session, the silent, the noisy and the clipped one included."""
