"""The controller: a transformer that looks at stems and a reference and predicts the settings.

It works in passes. A pass sees the figures of every stem, the reference, the settings so far and
what the mix they make still lacks, according to the band model, and moves the settings; the first
pass starts from the balanced mix. Stems are a set: attention weighs each by its share of the mix in
a range of frequencies, so neither their order nor how finely they are cut matters, and 64 stems are
as good as 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.console.parameters import BUS, STRIP
from pipeline.roles import Subgroup
from stage2.console.action_space import Reach
from stage2.console.band_model import BandModel
from stage2.controller.inputs import (
    SHARES,
    STEM_FIGURES,
    WINDOW_FIGURES,
    StemFigures,
)
from stage2.style.broad import HEARD_FIGURES, Broad, before_limiter

__all__ = [
    "Controller",
    "ControllerSize",
    "Moves",
    "Scene",
    "batch_scenes",
    "predict_settings",
]

_STRIP, _BUS = len(STRIP), len(BUS)
_ROLES = len(Subgroup) + 1
_LEAST_SHARE = 1e-6
_MOST_MOVE = 4.0


def _by_figure(
    spectrum: float, width: float, imbalance: float, punch: float, typical: float
) -> Tensor:
    """Return one number for each group of broad figures, ``(HEARD_FIGURES,)``."""
    out = torch.empty(HEARD_FIGURES)
    out[Broad.SPECTRUM], out[Broad.TYPICAL] = spectrum, typical
    out[Broad.WIDTH], out[Broad.RANGES] = width, width
    out[Broad.IMBALANCE], out[Broad.PUNCH] = imbalance, punch
    return out


_SCALE = _by_figure(4.0, 6.0, 1.0, 3.0, 5.0)
_CENTRE = _by_figure(-12.0, -12.0, 0.0, 6.0, -17.0)


@dataclass(frozen=True)
class ControllerSize:
    """The shape of the network.

    Parameters
    ----------
    width
        Length of a token.
    blocks, heads
        Of the transformer; heads are shared out among the ranges of frequencies.
    passes
        How often it looks at what the mix still lacks.
    """

    width: int = 200
    blocks: int = 4
    heads: int = 10
    passes: int = 3

    def to_record(self) -> dict[str, int]:
        """Return the sizes by name."""
        return asdict(self)


@dataclass(frozen=True)
class Scene:
    """One or several sessions as the network hears them; the first dimension is the session.

    Parameters
    ----------
    figures, windows, shares, roles
        As in :class:`stage2.controller.inputs.StemFigures`, padded to the most stems.
    heard
        ``(batch, stems)``: False where there is no stem.
    window_heard
        ``(batch, windows)``.
    reference
        ``(batch, HEARD_FIGURES)``: of the whole reference.
    reference_windows
        ``(batch, windows, HEARD_FIGURES)``.
    reference_heard
        ``(batch, windows)``.
    """

    figures: Tensor
    windows: Tensor
    shares: Tensor
    roles: Tensor
    heard: Tensor
    window_heard: Tensor
    reference: Tensor
    reference_windows: Tensor
    reference_heard: Tensor

    def to(self, device: str) -> Scene:
        """Return the same on a device."""
        return Scene(*(getattr(self, f.name).to(device) for f in fields(self)))


@dataclass(frozen=True)
class Moves:
    """What one pass does: moves of the settings, and how sure they are.

    Parameters
    ----------
    strips, bus
        Moves, ``(batch, stems, len(STRIP))`` and ``(batch, len(BUS))``, in :class:`Reach`'s units.
    strips_log_spread, bus_log_spread
        Logarithm of the standard deviation expected of the settings reached, of the same shapes,
        in parts of the reach.
    """

    strips: Tensor
    bus: Tensor
    strips_log_spread: Tensor
    bus_log_spread: Tensor


def _pad(rows: Sequence[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


def batch_scenes(
    stems: Sequence[StemFigures], references: Sequence[tuple[Tensor, Tensor]]
) -> Scene:
    """Return sessions side by side.

    Parameters
    ----------
    stems
        Of each session.
    references
        Of each session: the figures of the whole, and of its windows ``(windows, figures)``.
    """
    most = max(s.windows.shape[1] for s in stems)
    windows = [
        functional.pad(torch.from_numpy(s.windows), (0, 0, 0, most - s.windows.shape[1]))
        for s in stems
    ]
    return Scene(
        figures=_pad([torch.from_numpy(s.figures) for s in stems]),
        windows=_pad(windows),
        shares=_pad([torch.from_numpy(s.shares) for s in stems]),
        roles=_pad([torch.from_numpy(s.roles) for s in stems]),
        heard=_pad([torch.ones(len(s.roles), dtype=torch.bool) for s in stems]),
        window_heard=_pad([torch.ones(s.windows.shape[1], dtype=torch.bool) for s in stems]),
        reference=torch.stack([whole for whole, _ in references]),
        reference_windows=_pad([w for _, w in references]),
        reference_heard=_pad([torch.ones(len(w), dtype=torch.bool) for _, w in references]),
    )


def _scaled(figures: Tensor) -> Tensor:
    return (figures - _CENTRE.to(figures)) / _SCALE.to(figures)


class _Mixing(nn.Module):
    """Attention of all tokens to all, each stem weighed by its share in the head's range."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_after = nn.LayerNorm(width)
        self.hidden = nn.Sequential(
            nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width)
        )

    def forward(self, tokens: Tensor, weight: Tensor) -> Tensor:
        """Mix tokens ``(batch, n, width)`` by the log weights ``(batch, heads, 1, n)``."""
        batch, n, width = tokens.shape
        q, k, v = (
            part.reshape(batch, n, self.heads, -1).transpose(1, 2)
            for part in self.project(self.norm(tokens)).chunk(3, dim=-1)
        )
        mixed = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=weight.expand(-1, -1, n, -1)
        )
        tokens = tokens + self.out(mixed.transpose(1, 2).reshape(batch, n, width))
        return tokens + self.hidden(self.norm_after(tokens))


class Controller(nn.Module):
    """Predict moves of all settings from stems, reference and what the mix still lacks."""

    def __init__(self, size: ControllerSize | None = None) -> None:
        super().__init__()
        self.size = size or ControllerSize()
        width = self.size.width
        self.role = nn.Embedding(_ROLES, width)
        self.stem = nn.Sequential(
            nn.Linear(STEM_FIGURES, width), nn.GELU(), nn.Linear(width, width)
        )
        self.window = nn.Sequential(
            nn.Linear(WINDOW_FIGURES, width // 2), nn.GELU(), nn.Linear(width // 2, width)
        )
        self.settings = nn.Linear(_STRIP, width)
        self.bus_settings = nn.Linear(_BUS, width)
        self.heard_reference = nn.Sequential(
            nn.Linear(HEARD_FIGURES, width), nn.GELU(), nn.Linear(width, width)
        )
        self.lack = nn.Linear(HEARD_FIGURES, width)
        self.bus_token = nn.Parameter(torch.zeros(width))
        self.pass_token = nn.Embedding(8, width)
        self.blocks = nn.ModuleList(
            _Mixing(width, self.size.heads) for _ in range(self.size.blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.strip_head = nn.Linear(width, 2 * _STRIP)
        self.bus_head = nn.Linear(width + HEARD_FIGURES, 2 * _BUS)
        for head in (self.strip_head, self.bus_head):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        ranges = [h % SHARES for h in range(self.size.heads)]
        self.range_of_head: Tensor
        self.register_buffer("range_of_head", torch.tensor(ranges), persistent=False)

    def forward(self, scene: Scene, strips: Tensor, bus: Tensor, mix: Tensor, turn: int) -> Moves:
        """Look once.

        Parameters
        ----------
        scene
            Stems and references.
        strips, bus
            Settings so far, in :class:`Reach`'s units, 0 where the pass began.
        mix
            Figures of the mix that they make, ``(batch, HEARD_FIGURES)``.
        turn
            Which pass this is, from 0.
        """
        lack = (scene.reference - mix) / _SCALE
        wanted = self.lack(lack.clamp(-5.0, 5.0)) + self.pass_token.weight[turn]
        over_time = self.window(scene.windows) * scene.window_heard[:, None, :, None]
        count = scene.window_heard.sum(dim=1).clamp_min(1)[:, None, None]
        stems = (
            self.stem(scene.figures)
            + over_time.sum(dim=2) / count
            + self.role(scene.roles)
            + self.settings(strips)
            + wanted[:, None]
        )
        references = self.heard_reference(_scaled(scene.reference_windows))
        whole = self.heard_reference(_scaled(scene.reference))[:, None]
        master = (self.bus_token + self.bus_settings(bus) + wanted)[:, None]
        tokens = torch.cat((stems, references, whole, master), dim=1)
        weight = self._weights(scene)
        for block in self.blocks:
            tokens = block(tokens, weight)
        tokens = self.norm(tokens)
        moved, spread = self.strip_head(tokens[:, : stems.shape[1]]).chunk(2, dim=-1)
        last = torch.cat((tokens[:, -1], lack.clamp(-5.0, 5.0)), dim=-1)
        bus_moved, bus_spread = self.bus_head(last).chunk(2, dim=-1)
        return Moves(
            _MOST_MOVE * torch.tanh(moved / _MOST_MOVE),
            _MOST_MOVE * torch.tanh(bus_moved / _MOST_MOVE),
            spread.clamp(-5.0, 1.0) - 1.5,
            bus_spread.clamp(-5.0, 1.0) - 1.5,
        )

    def _weights(self, scene: Scene) -> Tensor:
        """Return log weights of the tokens in each head, ``(batch, heads, 1, tokens)``."""
        shares = scene.shares[:, :, self.range_of_head].clamp_min(0.0) + _LEAST_SHARE
        stems = torch.log(shares).masked_fill(~scene.heard[:, :, None], -torch.inf)
        windows = scene.reference_heard
        apart = torch.log(windows.sum(dim=1, keepdim=True).clamp_min(1).to(stems.dtype))
        references = (-apart).expand(windows.shape).masked_fill(~windows, -torch.inf)
        others = torch.zeros(len(windows), 2, dtype=stems.dtype, device=stems.device)
        rest = torch.cat((references, others), dim=1)[:, None].expand(-1, self.size.heads, -1)
        return torch.cat((stems.transpose(1, 2), rest), dim=2)[:, :, None]


@torch.no_grad()
def predict_settings(
    controller: Controller, model: BandModel, scene: Scene, reach: Reach
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what the controller decides for one session, pass after pass.

    Parameters
    ----------
    model
        The band model of the same stems.
    scene
        One session.
    reach
        Where the settings start and how far they go.

    Returns
    -------
    strips : Tensor
        ``(stems, len(STRIP))``, in the table's units, float64.
    bus : Tensor
        ``(len(BUS),)``.
    strips_spread, bus_spread : Tensor
        Standard deviation expected of each, in parts of the reach, 0 to 1.
    """
    strips = torch.zeros(1, reach.stems, _STRIP)
    bus = torch.zeros(1, _BUS)
    for turn in range(controller.size.passes):
        mixed = model(*reach.settings(strips[0], bus[0]))
        figures = before_limiter(mixed.features).float()[None]
        moves = controller(scene, strips, bus, figures, turn)
        strips, bus = strips + moves.strips, bus + moves.bus
    settings, master = reach.settings(strips[0], bus[0])
    return settings, master, moves.strips_log_spread[0].exp(), moves.bus_log_spread[0].exp()
