"""From stems and a reference to the settings that the controller predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.console.parameters import BUS, STRIP, Aspect, Parameter
from pipeline.units import Float32Array
from stage2.console.action_space import Reach
from stage2.console.band_model import BandModel
from stage2.console.search_space import StemInput, as_dicts
from stage2.console.statistics import Digest, digest_stems
from stage2.controller.inputs import encode_stems
from stage2.controller.network import Controller, batch_scenes, predict_settings
from stage2.controller.weights_file import shipped_controller
from stage2.priors.engineers import bus_prior, strip_prior
from stage2.style.broad import HEARD_FIGURES, broadened
from stage2.style.target import StyleTarget

__all__ = ["Prediction", "predict"]


@dataclass(frozen=True)
class Prediction:
    """What the controller predicts.

    Parameters
    ----------
    strips
        Complete settings per stem, in the order of the stems.
    bus
        Complete settings of the bus, its ``gain_db`` not included.
    strips_spread, bus_spread
        How sure each setting is: the standard deviation that is expected of it, in its own unit
        (for ratios, times and frequencies as a factor, above 1).
    """

    strips: tuple[dict[str, float], ...]
    bus: dict[str, float]
    strips_spread: tuple[dict[str, float], ...]
    bus_spread: dict[str, float]


def predict(
    stems: Sequence[StemInput],
    target: StyleTarget,
    windows: Float32Array,
    *,
    sample_rate: int,
    match: frozenset[Aspect] = frozenset(Aspect),
    digest: Digest | None = None,
    controller: Controller | None = None,
) -> Prediction:
    """Predict the settings that bring stems to the style of a reference.

    Parameters
    ----------
    stems
        Balanced stems, or excerpts of them, one or more; silent ones must be left out.
    target
        The style that is wanted.
    windows
        ``(windows, REFERENCE_FIGURES)``: segments of the reference, from
        :func:`stage2.controller.inputs.reference_windows`; of several references one after the
        other.
    sample_rate
        Of the stems, in Hz.
    match
        Aspects to follow; settings of the others stay neutral.
    digest
        Of the stems, where it is known already.
    controller
        The shipped one by default.
    """
    controller = controller or shipped_controller()
    digest = digest or digest_stems([stem.audio for stem in stems], sample_rate=sample_rate)
    gains_db = [stem.gain_db for stem in stems]
    guards = [stem.guard for stem in stems]
    names = [stem.name for stem in stems]
    figures = encode_stems(digest, gains_db=gains_db, subgroups=names, guards=guards)
    typical = [{**strip_prior(stem.name).typical(), **stem.deesser} for stem in stems]
    reach = Reach(
        gains_db=gains_db,
        guards=guards,
        typical=[*typical, bus_prior().typical()],
        match=match,
    )
    whole = torch.from_numpy(target.figures()[:HEARD_FIGURES]).float()
    segments = broadened(torch.from_numpy(windows.astype(np.float64))).float()
    scene = batch_scenes([figures], [(whole, segments)])
    model = BandModel(digest, [stem.level_lufs for stem in stems])
    strips, bus, strips_spread, bus_spread = predict_settings(controller, model, scene, reach)
    # Faders are relative to each other: what all move by is the bus's to make up for.
    fader = STRIP.columns["gain_db"]
    strips[:, fader] -= (strips[:, fader] - torch.tensor(gains_db, dtype=torch.float64)).mean()
    spans = reach.spans()
    return Prediction(
        strips=as_dicts(strips, STRIP),
        bus=as_dicts(bus, BUS)[0],
        strips_spread=_spreads(strips_spread.double() * spans[0], STRIP),
        bus_spread=_spreads((bus_spread.double() * spans[1])[None], BUS)[0],
    )


def _spreads(values: Tensor, table: Sequence[Parameter]) -> tuple[dict[str, float], ...]:
    return tuple(
        {
            p.name: math.exp(value) if p.scale == "log" else value
            for p, value in zip(table, row, strict=True)
        }
        for row in values.tolist()
    )
