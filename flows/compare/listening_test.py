"""A listening test of several balances: excerpts, a webMUSHRA configuration and its trials.

Nobody knows the true balance of a song, so there is no reference that the balances could be rated
against. webMUSHRA's ``mushra`` and ``paired_comparison`` pages both need one, and would rate
likeness to whichever balance were given that place. ``likert_multi_stimulus`` needs none: all
balances of a passage stand on one page, unnamed and in random order, and each is rated by itself.

Conditions are known by numbers that are dealt anew on each page; ``trials.csv`` says which is
which.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from flows.csv_table import as_cell
from pipeline.audio.stream import read
from pipeline.audio.writer import write
from pipeline.loudness.meter import EnergyMeter, gated_lufs
from pipeline.render.activity import HOPS_PER_SECOND
from pipeline.units import FloatArray, db_to_amplitude

__all__ = ["Passage", "Trial", "busiest_passages", "write_listening_test"]

FOLDER = "listening_test"
PASSAGE_S = 15.0
MOST_PASSAGES = 3
LEAST_BUSY = 0.5
"""Of the busiest passage's tracks, so many must play in another."""
FADE_S = 0.02
POINTS = ("1 – bad", "2", "3", "4 – fair", "5", "6", "7 – excellent")

_ROOT = f"configs/{FOLDER}"  # where webMUSHRA looks from
_HOW = f"""\
# webMUSHRA (github.com/audiolabs/webMUSHRA): copy this folder into its folder "configs" as
# "{FOLDER}" and open the page with ?config={FOLDER}/webmushra.yaml
# Which condition of a page is which balance stands in trials.csv.
"""


@dataclass(frozen=True)
class Passage:
    """A stretch of the song.

    Parameters
    ----------
    start_s, duration_s
        Where it lies, in seconds.
    playing
        How many tracks play in it, on average.
    """

    start_s: float
    duration_s: float
    playing: float


@dataclass(frozen=True)
class Trial:
    """One excerpt of one balance.

    Parameters
    ----------
    page, condition
        As webMUSHRA's results name them.
    file
        Relative to the folder of the listening test.
    loudness_lufs
        Integrated, of the excerpt as it is written.
    gain_db
        What made it as loud as the others, against the method's sum.
    order
        Where it stands in an order drawn by the seed, from 1.
    """

    page: str
    condition: str
    method: str
    file: str
    start_s: float
    duration_s: float
    loudness_lufs: float
    gain_db: float
    order: int


def busiest_passages(
    playing: npt.NDArray[np.int64], power: npt.NDArray[np.float64], *, duration_s: float
) -> tuple[Passage, ...]:
    """Return up to three stretches of 15 s in which the most tracks play, as the song has them.

    Parameters
    ----------
    playing
        How many tracks play in each 100 ms.
    power
        Of the sum, in as many or fewer steps of 100 ms: of two stretches as busy, the louder is
        taken.
    duration_s
        Of the song; one that is shorter than a stretch is taken whole.
    """
    length = round(PASSAGE_S * HOPS_PER_SECOND)
    if duration_s <= PASSAGE_S or playing.size <= length:
        return (Passage(0.0, duration_s, float(playing.mean()) if playing.size else 0.0),)
    level = np.zeros(playing.size)
    level[: power.size] = power[: playing.size]
    usable = min(playing.size, math.floor(duration_s * HOPS_PER_SECOND)) - length + 1
    busy = _means(playing.astype(np.float64), length)[:usable]
    loud = _means(level, length)[:usable]
    # a thousandth of a track at most
    score = busy + 1e-3 * loud / max(float(loud.max()), 1e-30)
    chosen: list[int] = []
    while len(chosen) < MOST_PASSAGES and np.isfinite(score).any():
        start = int(np.argmax(score))
        if chosen and busy[start] < LEAST_BUSY * busy[chosen[0]]:
            break
        chosen.append(start)
        score[max(start - length + 1, 0) : start + length] = -np.inf
    return tuple(
        Passage(start / HOPS_PER_SECOND, PASSAGE_S, float(busy[start])) for start in sorted(chosen)
    )


def _means(values: npt.NDArray[np.float64], length: int) -> npt.NDArray[np.float64]:
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray((total[length:] - total[:-length]) / length)


def _excerpt(path: Path, passage: Passage, sample_rate: int) -> tuple[FloatArray, EnergyMeter]:
    audio = np.asarray(
        read(path, start_s=passage.start_s, duration_s=passage.duration_s), np.float32
    )
    ramp = np.linspace(0.0, 1.0, min(round(FADE_S * sample_rate), audio.shape[1]), dtype=np.float32)
    audio[:, : ramp.size] *= ramp
    audio[:, audio.shape[1] - ramp.size :] *= ramp[::-1]
    meter = EnergyMeter(sample_rate=sample_rate, channels=audio.shape[0])
    meter.process(audio)
    return audio, meter


def _gain_db(meter: EnergyMeter, target_lufs: float) -> float:
    power, gain_db = meter.momentary_power(), 0.0
    for _ in range(8):  # the absolute gate may let more or less of it through
        gain_db += target_lufs - gated_lufs(power * 10.0 ** (gain_db / 10.0))
    return round(gain_db, 4)


def write_listening_test(
    folder: Path,
    sums: Mapping[str, Path],
    passages: Sequence[Passage],
    *,
    title: str,
    sample_rate: int,
    seed: int,
) -> tuple[Trial, ...]:
    """Write excerpts, ``webmushra.yaml`` and ``trials.csv`` into a new folder.

    All excerpts are as loud as the quietest of them, so nothing is amplified into clipping. A
    passage in which a sum is silent is left away.

    Parameters
    ----------
    folder
        The listening test's own; made here.
    sums
        Method → its sum; all of one length.
    title
        Of the song, shown to listeners.
    seed
        Of the order, and of which condition is which method.

    Returns
    -------
    tuple of Trial
        In the drawn order, as ``trials.csv`` has them; none if no passage can be heard.
    """
    heard = []
    for passage in passages:
        pieces = {name: _excerpt(path, passage, sample_rate) for name, path in sums.items()}
        levels = {name: meter.integrated_lufs for name, (_, meter) in pieces.items()}
        if all(math.isfinite(level) for level in levels.values()):
            heard.append((passage, min(levels.values())))
    if not heard:
        return ()
    target = min(level for _, level in heard)
    generator = np.random.default_rng(seed)
    methods = list(sums)
    (folder / "stimuli").mkdir(parents=True)
    trials: list[Trial] = []
    for page in generator.permutation(len(heard)):
        passage, _ = heard[page]
        dealt = generator.permutation(len(methods))
        for condition in generator.permutation(len(methods)):
            method = methods[dealt[condition]]
            name = f"stimuli/passage_{page + 1}_condition_{condition + 1}.wav"
            audio, meter = _excerpt(sums[method], passage, sample_rate)
            gain_db = _gain_db(meter, target)
            audio *= np.float32(db_to_amplitude(gain_db))
            path = folder / name
            write(path, audio, sample_rate=sample_rate, subtype="PCM_24", dither_seed=seed)
            written = EnergyMeter(sample_rate=sample_rate, channels=audio.shape[0])
            written.process(read(path))
            trials.append(
                Trial(
                    page=f"passage_{page + 1}",
                    condition=f"condition_{condition + 1}",
                    method=method,
                    file=name,
                    start_s=passage.start_s,
                    duration_s=audio.shape[1] / sample_rate,
                    loudness_lufs=round(written.integrated_lufs, 3),
                    gain_db=gain_db,
                    order=len(trials) + 1,
                )
            )
    _write_trials(folder / "trials.csv", trials)
    text = yaml.safe_dump(_configuration(title, trials), sort_keys=False, allow_unicode=True)
    (folder / "webmushra.yaml").write_text(_HOW + text, encoding="utf-8")
    return tuple(trials)


def _write_trials(path: Path, trials: Sequence[Trial]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Trial)])
        table.writeheader()
        for trial in trials:
            table.writerow({name: as_cell(value) for name, value in asdict(trial).items()})


def _plain(text: str) -> str:
    """Return a name as HTML that is nothing but text: webMUSHRA puts titles into its page."""
    return "".join(c if c.isalnum() or c in " ._-()+'" else "_" for c in text)


def _configuration(title: str, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return what webMUSHRA reads, by the keys of its documentation for experimenters."""
    name = _plain(title)
    pages: dict[str, list[Trial]] = {}
    for trial in trials:
        pages.setdefault(trial.page, []).append(trial)
    balances = len({trial.condition for trial in trials})
    welcome = (
        f"You will hear {len(pages)} passage{'s' if len(pages) > 1 else ''} of a recording, each "
        f"in {balances} balances. No balance is the right one: judge by your own ear. Please use "
        "headphones or good loudspeakers in a quiet room."
    )
    return {
        "testname": f"Balances of {name}",
        "testId": "balances_" + "".join(c if c.isalnum() else "_" for c in name).strip("_"),
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": True,
        "remoteService": "service/write.php",
        "pages": [
            {"type": "generic", "id": "welcome", "name": "Welcome", "content": welcome},
            {
                "type": "volume",
                "id": "volume",
                "name": "Volume",
                "content": "Set a comfortable volume, and leave it there until the end.",
                "stimulus": f"{_ROOT}/{trials[0].file}",
                "defaultVolume": 0.5,
            },
            ["random", *(_rating_page(page, conditions) for page, conditions in pages.items())],
            {
                "type": "finish",
                "name": "Thank you",
                "content": "Thank you. Please send your ratings.",
                "showResults": False,
                "writeResults": True,
            },
        ],
    }


def _rating_page(page: str, conditions: Sequence[Trial]) -> dict[str, Any]:
    return {
        "type": "likert_multi_stimulus",
        "id": page,
        "name": "Rate each balance",
        "content": (
            "All of these are the same passage of the same recording, equally loud. Rate how "
            "well the instruments and voices of each are balanced against each other. "
            "Listen to all of them before you rate, and again as often as you like."
        ),
        "mustRate": True,
        "mustPlayback": "processUpdate",
        "stimuli": {t.condition: f"{_ROOT}/{t.file}" for t in conditions},
        "response": [
            {"value": value, "label": label} for value, label in enumerate(POINTS, start=1)
        ],
    }
