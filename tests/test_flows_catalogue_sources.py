from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flows.catalogue.sources import CatalogueEntry, read_catalogue
from flows.settings import MixSettings
from pipeline.console.parameters import Aspect
from pipeline.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("b song", "A song", ".hidden", "mixes", "__MACOSX", "empty"):
        (tmp_path / "root" / name).mkdir(parents=True)
    (tmp_path / "root" / "notes.txt").write_text("no session")
    return tmp_path / "root"


def entries(source: Path, settings: MixSettings | None = None) -> tuple[CatalogueEntry, ...]:
    return read_catalogue(source, settings or MixSettings()).entries


def problems(source: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_catalogue(source, MixSettings())
    return [str(problem).replace(f"{source}", "LIST") for problem in caught.value.problems]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_each_subfolder_is_a_session_and_what_is_none_is_said(root: Path) -> None:
    found = read_catalogue(root, MixSettings())
    assert [entry.name for entry in found.entries] == ["A song", "b song", "empty"]
    assert [entry.session for entry in found.entries] == [
        root / "A song", root / "b song", root / "empty",
    ]  # fmt: skip
    assert found.default_folder == root / "mixes"
    assert found.left_out == (
        "__MACOSX/ (holds what macOS adds to archives)",
        "mixes/ (holds a catalogue's mixes)",
    )


def test_references_outputs_and_links_are_no_sessions(root: Path, put: Callable[..., Path]) -> None:
    reference = put(root / "references" / "like.wav", np.zeros((2, 100)), 8000)
    put(root / "song with it" / "like.wav", np.zeros((2, 100)), 8000)
    put(root / "song with it" / "Kick.wav", np.zeros((1, 100)), 8000)
    for name in ("catalogue.csv", "catalogue.parquet", "catalogue.html"):
        write(root / "empty" / name, "")
    (root / "link").symlink_to(root / "A song", target_is_directory=True)
    settings = MixSettings(references=(reference, root / "song with it" / "like.wav"))
    found = read_catalogue(root, settings, output=root / "b song")
    assert [entry.name for entry in found.entries] == ["A song", "song with it"]
    assert {text.split(" ", 1)[0] for text in found.left_out if "mac" not in text} == {
        "b", "empty/", "link/", "mixes/", "references/",
    }  # fmt: skip


def test_a_folder_that_is_a_session_itself_is_said(tmp_path: Path) -> None:
    write(tmp_path / "Kick.wav", "")
    (told,) = problems(tmp_path)
    assert "has no subfolder that is a session" in told
    assert "mix this one with `stemwright mix LIST`" in told


def test_a_csv_list_overrides_settings_by_row(root: Path) -> None:
    path = write(
        root.parent / "songs.csv",
        "\ufeffsession,reference,target,strength,match,keep,seed,sample_rate\r\n"
        'root/A song,like.wav; more.flac,spotify,0.5,"eq,width",TRUE,7,48000\r\n'
        "\r\n"
        f"{root / 'b song'},,,,,,,\r\n",
    )
    base = MixSettings(references=(Path("/r.wav"),), target="-16", skip_bad=True)
    first, second = entries(path, base)
    assert (first.name, first.session) == ("A song", root / "A song")
    assert first.settings == MixSettings(
        references=(root.parent / "like.wav", root.parent / "more.flac"),
        target="spotify", strength=0.5, match=(Aspect.EQ, Aspect.WIDTH), keep=True, seed=7,
        sample_rate=48000, skip_bad=True,
    )  # fmt: skip
    assert second.settings == base
    assert read_catalogue(path, base).default_folder == root.parent / "songs mixes"


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_spreadsheets_may_separate_by_other_signs(root: Path, delimiter: str) -> None:
    text = f'session{delimiter}reference\nroot/A song{delimiter}"a.wav;b.wav"\n'
    (entry,) = entries(write(root.parent / "songs.csv", text))
    assert [path.name for path in entry.settings.references] == ["a.wav", "b.wav"]


def test_a_toml_list_has_settings_for_all_and_for_each(root: Path) -> None:
    path = write(
        root.parent / "songs.toml",
        """
        reference = "like.wav"
        target = "spotify"
        [[mix]]
        session = "root/A song"
        [[mix]]
        session = "root/A song"
        name = "quiet"
        reference = ["one.wav", "/two.wav"]
        target = -23
        """,
    )
    one, two = entries(path)
    assert (one.name, one.settings.target) == ("A song", "spotify")
    assert one.settings.references == (root.parent / "like.wav",)
    assert (two.name, two.settings.target) == ("quiet", "-23")
    assert two.settings.references == (root.parent / "one.wav", Path("/two.wav"))


def test_lists_may_name_what_lies_elsewhere(root: Path) -> None:
    path = write(root / "l.csv", "session,reference\ns3://songs/one/,s3://songs/like.wav\n")
    (entry,) = entries(path)
    assert (entry.name, entry.session) == ("one", "s3://songs/one")
    assert entry.settings.references == ("s3://songs/like.wav",)
    assert "ftp:// is not known" in problems(write(path, "session\nftp://songs/one\n"))[0]


def test_names_never_collide(root: Path) -> None:
    rows = ["x/Song", "y/song", "z/SONG", "catalogue.csv", "..", "/", "a/.hid", "x/" + "ü" * 150]
    path = write(root / "l.csv", "session\n" + "\n".join(rows))
    names = [entry.name for entry in entries(path)]
    assert names[:4] == ["Song", "song-2", "SONG-3", "catalogue.csv-2"]
    assert names[5:7] == ["session", "hid"]
    assert len({name.casefold() for name in names}) == len(rows)
    assert max(len(os.fsencode(name)) for name in names) <= 200


def test_everything_wrong_with_a_csv_list_is_said_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path / "songs.csv",
        "session,target,strength,name\n,spotify,1,\nb,spotfy,2,../up\nc,,much,twice\nd,,,twice\n",
    )
    assert problems(path) == [
        "LIST line 2 [session]: is missing: give the path of the session's folder",
        "LIST line 3 [name]: is '../up': give a plain folder name, without separators or a dot "
        "before it",
        "LIST line 3 [target]: 'spotfy' is unknown: did you mean 'spotify'?",
        "LIST line 3 [strength]: is 2: use a number from 0 to 1",
        "LIST line 4 [strength]: is 'much': use a number from 0 to 1",
    ]
    assert problems(write(path, "sesion,targt,targt\na,b,c,d\n")) == [
        "LIST line 1: has no column 'session' (it has 'sesion', 'targt', 'targt'): name the "
        "columns there",
        "LIST line 1: has an unknown column 'sesion': did you mean 'session'?",
        "LIST line 1: has an unknown column 'targt': did you mean 'target'?",
        "LIST line 1: has the column 'targt' 2 times: keep one",
        "LIST line 2: has 4 cells, and the first line names 3 columns: put text with separators "
        "into quotes",
    ]
    assert problems(write(path, 'session\n"a\n')) == [
        "LIST line 2: is not CSV (unexpected end of data): mend it there"
    ]
    assert problems(write(path, "session\n")) == ["LIST: lists no session: add one"]


def test_everything_wrong_with_a_toml_list_is_said_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path / "songs.toml",
        'targt = "x"\n[[mix]]\nsession = 3\nquality = "fine"\n[[mix]]\nsesion = "a"\n',
    )
    assert problems(path) == [
        "LIST: has an unknown key 'targt': did you mean 'target'?",
        "LIST [[mix]] 2: has an unknown key 'sesion': did you mean 'session'?",
    ]
    write(path, '[[mix]]\nsession = 3\nquality = "fine"\n')
    assert problems(path) == [
        "LIST [[mix]] 1 [session]: is 3: give the path of the session's folder",
        "LIST [[mix]] 1 [quality]: is 'fine': use one of fast, best",
    ]
    assert "is not TOML" in problems(write(path, "[[mix"))[0]
    assert "write [[mix]] before each session" in problems(write(path, "mix = 3"))[0]
    assert problems(write(path, "")) == ["LIST: lists no session: add one"]


def test_a_source_that_is_no_list_is_said(tmp_path: Path) -> None:
    assert "does not exist" in problems(tmp_path / "none")[0]
    assert "is no list of sessions" in problems(write(tmp_path / "a.txt", ""))[0]
    (tmp_path / "latin.csv").write_bytes("session\nMüller".encode("latin-1"))
    assert "is not UTF-8" in problems(tmp_path / "latin.csv")[0]
