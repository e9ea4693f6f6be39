"""Small songs, synthesised, and the command line that mixes them."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from typer.testing import CliRunner, Result

Audio = npt.NDArray[np.float64]

ODD_NAME = 'Gtr "L"\n.wav' if os.name == "posix" else "Gtr 'L'.wav"


def pytest_configure(config: pytest.Config) -> None:
    """Let interrupts be heard: a shell's job in the background begins with them ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a folder; the store, the home and everything else of the user lie in it too."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("work")
        home = place / "home"
        home.mkdir()
        for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            patch.setenv(name, str(home))
        patch.setenv("STEMWRIGHT_STORE", str(place / "store"))
        patch.setenv("STEMWRIGHT_PREFECT_HOME", str(place / "prefect"))
        patch.setenv("DO_NOT_TRACK", "1")
        patch.delenv("PREFECT_API_URL", raising=False)
        yield place


@pytest.fixture(scope="session")
def object_server() -> Iterator[str]:
    """Serve S3 on loopback; give the URL of the service."""
    moto = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def bucket(object_server: str, workplace: Path) -> Iterator[Any]:
    """Give an empty bucket of that service, which is what ``s3://`` means meanwhile."""
    boto3 = pytest.importorskip("boto3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", object_server)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("STEMWRIGHT_NEAR_STORE", "STEMWRIGHT_MIRROR", "STEMWRIGHT_STAGING"):
            patch.setenv(name, str(workplace / name.lower()))
        yield boto3.resource("s3").create_bucket(Bucket=f"bucket-{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="session")
def put() -> Callable[..., Path]:
    """Write ``(channels, frames)`` to a file of any name."""

    def write(
        path: Path, audio: Audio, rate: int, *, subtype: str | None = None, kind: str | None = None
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = kind or path.suffix[1:].upper()
        name = os.fsencode(path) if os.name == "posix" else str(path)
        soundfile.write(name, np.atleast_2d(audio).T, rate, subtype=subtype, format=kind)
        return path

    return write


def _harmonics(f0_hz: float, seconds: float, rate: int) -> Audio:
    time = np.arange(round(seconds * rate)) / rate
    return np.asarray(sum(np.sin(2.0 * np.pi * f0_hz * k * time) / k for k in range(1, 6)))


def _struck(every_s: float, decay_s: float, seconds: float, rate: int) -> Audio:
    time = np.arange(round(seconds * rate)) / rate
    return np.asarray(np.exp(-(time % every_s) / decay_s))


@pytest.fixture(scope="session")
def make_song(put: Callable[..., Path]) -> Callable[[Path], Path]:
    """Write a song of five tracks, 3 s: 22.05 to 48 kHz, mono and stereo, WAV and FLAC."""

    def write(root: Path) -> Path:
        rng = np.random.default_rng(3)
        noise = rng.standard_normal((3, 3 * 48_000))
        kick = 0.24 * _struck(0.5, 0.08, 3, 48_000) * _harmonics(55, 3, 48_000)
        put(root / "Drums" / "Kick In.wav", kick, 48_000, subtype="PCM_16")
        put(root / "Drums" / "Snare.wav", 0.2 * _struck(1, 0.05, 3, 48_000) * noise[0], 48_000,
            subtype="PCM_24")  # fmt: skip
        bass = 0.2 * _struck(0.5, 0.4, 3, 44_100) * _harmonics(82, 3, 44_100)
        put(root / "Bass DI.flac", bass, 44_100, subtype="PCM_24")
        guitar = 0.1 * _struck(0.75, 0.3, 3, 48_000) * _harmonics(330, 3, 48_000)
        put(root / ODD_NAME, guitar + 0.02 * noise[1:], 48_000, subtype="FLOAT")
        voice = 0.2 * (1 + _struck(0.3, 0.1, 2, 22_050)) * _harmonics(220, 2, 22_050)
        put(root / "Lead Vox ü 日本.wav", voice, 22_050, subtype="PCM_16")
        return root

    return write


@pytest.fixture(scope="session")
def make_reference(put: Callable[..., Path]) -> Callable[..., Path]:
    """Write 4 s of stereo noise, dull or bright, with a pulse."""

    def write(path: Path, *, dull: float = 0.9, seconds: float = 4.0, seed: int = 5) -> Path:
        rate = 44_100
        noise = np.random.default_rng(seed).standard_normal((2, round(seconds * rate)))
        noise[1] = 0.8 * noise[0] + 0.3 * noise[1]
        for n in range(1, 60):  # the start of a one-pole low-pass's response, 1 - dull at DC
            noise[:, 60:] += dull**n * noise[:, 60 - n : noise.shape[1] - n]
        pulse = 0.3 + 0.7 * _struck(0.5, 0.15, seconds, rate)
        return put(path, 0.2 * noise * pulse / np.std(noise), rate, subtype="PCM_24")

    return write


@pytest.fixture(scope="session")
def stemwright() -> Callable[..., Result]:
    """Run the command line in this process."""

    def run(*arguments: object) -> Result:
        from flows.cli.main import app

        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        root.handlers.clear()  # the command closes those that it finds
        try:
            return CliRunner().invoke(app, [str(argument) for argument in arguments])
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)

    return run


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, str]]:
    """Return each file and folder below a folder with a hash of what is in it."""

    def look(folder: Path) -> dict[str, str]:
        return {
            path.relative_to(folder).as_posix(): "folder"
            if path.is_dir()
            else hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
        }

    return look


@pytest.fixture(scope="session")
def samples() -> Callable[[Path], Any]:
    """Return a file's samples as whole numbers, exactly as they are stored."""

    def read(path: Path) -> Any:
        return soundfile.read(path, dtype="int32", always_2d=True)[0].T

    return read


@pytest.fixture(scope="session")
def plain() -> Callable[[str], str]:
    """Return text without the codes that colour it."""
    return lambda text: re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[str], str]]:
    """Start a PostgreSQL of the tests' own; give what makes a database and returns its address.

    PostgreSQL refuses to run as root: then it runs as the user that its package made, or nobody.
    """
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    found = shutil.which("postgres") or (programs[-1] if programs else None)
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    where = Path(found).resolve().parent
    become: dict[str, Any] = {}
    # Short: a socket's path has 107 bytes; and its user has to reach it.
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as name:
        place = Path(name)
        if os.getuid() == 0:
            import pwd

            names = {user.pw_name for user in pwd.getpwall()}
            user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            become = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(place, user.pw_uid, user.pw_gid)
        password = secrets.token_hex(16)
        word, data = place / "word", place / "data"
        word.write_text(password)
        if become:
            os.chown(word, become["user"], become["group"])

        def run(program: str, *arguments: object) -> None:
            subprocess.run(
                [where / program, *map(str, arguments)],
                check=True,
                capture_output=True,
                cwd=place,
                env={"PATH": os.environ["PATH"], "PGPASSWORD": password, "LC_ALL": "C"},
                **become,
            )

        run("initdb", "-D", data, "-U", "ann", "-A", "scram-sha-256", f"--pwfile={word}", "-N",
            "-E", "UTF8")  # fmt: skip
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        quick = (
            "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c shared_buffers=16MB"
        )
        listen = f"-p {port} -k {place} -c listen_addresses=127.0.0.1 {quick}"
        run("pg_ctl", "-D", data, "-o", listen, "-l", place / "log", "-w", "start")

        def make(database: str) -> str:
            run("createdb", "-h", "127.0.0.1", "-p", port, "-U", "ann", database)
            return f"postgresql+asyncpg://ann:{password}@127.0.0.1:{port}/{database}"

        try:
            yield make
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
