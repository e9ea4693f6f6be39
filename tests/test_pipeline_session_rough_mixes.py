"""Names of whole-song bounces, and names of tracks that only look like them."""

from __future__ import annotations

import pytest

from pipeline.session.rough_mixes import Bounce, bounce, name_tokens, shared_tokens

SURE = """
MIX|Mix|mix 2|Mix_v3|MIX-FINAL|Final Mix|Rough Mix|ROUGHMIX|RoughMix3|Rough|rough 2|Master|MASTER|
Mastered|Master L|Master-R|2MIX|2Mix_v1|Mixdown|Mixdown (2)|Stereo Mix|Full Mix|Bounce|Bounce 1|
bounced|Stereo Out Bounce|MainMix|Master Bus|MixBus|Mix Print|Ref Mix|mix 2024-03-01|
Mix 24bit 48k|Master_-14LUFS|Instrumental Mix|TV Mix|Acapella Mix|No Vox Mix|Mix minus guitar|
Vocal Up Mix|Vox Down Master|Mix_120bpm|Unmastered Mix|Premaster|Radio Edit Master|Mono Mix|
Mezcla final|Mixage 2|01 Rough Mix|99_MASTER_FINAL_v2|Demo Mix|NewMixFINAL
""".replace("\n", "").split("|")

TRACKS = """
Kick|Drum Mix|DrumMix|Drum Bus|DrumBus Mix|Room mix|Rooms Mix|Guitar Master Take|Gtr Master|
Mix Kick|KickMix|SnareMaster|BGV Mix|BGVox Bounce|Vox Rough|Rough Vox|Rough Vocal 2|Bass Bounce|
Amp Mix|OH mix|Perc Mix|Strings Mixdown|Horns Master|Synth Bounce|808 Bounce|Beat Mix|Loop Mix|
Choir Mixdown|Lead Vocal Master Comp|FX Mix|Reverb Print|Mallet|Mixolydian Lead|Remix Stab|
Masterpiece|Roughneck|Mixer Hum|Piano Final|Final|Stereo|Print|Demo|01|Take 3|Sodium|Gitarre Mix|
Mix Batterie|Mezcla Voz|StringsMix|Cajon Mix|Drums (rough)|Scratch Master|Click Mix|Acoustic Mix|
leadvox mix|subkick master|Orchestra Mix|Tambo Mix|Bombo Mix|E Gtr Mix|TOM MIX|HH Mix|Pad Mix
""".replace("\n", "").split("|")


@pytest.mark.parametrize("name", SURE)
def test_a_bounce_of_the_whole_song(name: str) -> None:
    assert bounce(name) is Bounce.SURE


@pytest.mark.parametrize("name", TRACKS)
def test_a_track(name: str) -> None:
    assert bounce(name) is Bounce.NO


@pytest.mark.parametrize(
    "name", ["Glockenturm Mix", "Sunlight MASTER", "Mix Katrin", "Whoop Rough"]
)
def test_an_unknown_word_leaves_it_open(name: str) -> None:
    assert bounce(name) is Bounce.LIKELY


def test_the_song_s_name_is_known() -> None:
    assert bounce("Sunlight Rough Mix", song="Sunlight") is Bounce.SURE
    assert bounce("Bass Face - Rough Mix", song="Bass Face") is Bounce.SURE
    assert bounce("Bass Face - Bass Mix", song="Bass Face") is Bounce.NO
    assert bounce("Drum Mix", song="Drums") is Bounce.NO
    assert bounce("Drums Live Mix", song="Drums Live") is Bounce.NO
    shared = shared_tokens(["Sunlight_Kick", "Sunlight_Vox", "Sunlight_Mix"])
    assert shared == {"sunlight"}
    assert bounce("Sunlight_Mix", song_tokens=shared) is Bounce.SURE
    assert shared_tokens(["Kick Mix", "Kick In", "Kick Out"]) == frozenset()


def test_folders_are_heard() -> None:
    assert bounce("Mix", folders=["Drums"]) is Bounce.NO
    assert bounce("Mix", folders=["Audio Files"]) is Bounce.SURE
    assert bounce("Sunlight", folders=["Bounced Files"], song="Sunlight") is Bounce.SURE
    assert bounce("Kick", folders=["Bounced Files"]) is Bounce.NO
    assert bounce("Sunlight", folders=["Masters"], song="Sunlight") is Bounce.NO


def test_words_are_cut_at_case_and_numbers() -> None:
    assert name_tokens("MySong_RoughMix-v2") == ["my", "song", "rough", "mix", "v", "2"]
    assert name_tokens("2MIX 2mixes") == ["2mix", "2", "mixes"]
    assert name_tokens("ÜberMix") == ["über", "mix"]
