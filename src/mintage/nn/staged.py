"""Two models in a row: a frozen autoencoder, and the model of its codes.

On grids of codes this is latent diffusion (Rombach et al., 2112.10752), on quantised codes the prior of van den Oord et al.
(1711.00937). From outside it is one family over the data's own form: examples are encoded as they come (in training once,
before it begins: ``Coded``), samples are decoded before they leave, so tasks, sketch, judges and files see nothing special,
and its weights hold both. Grids of codes are shifted and scaled, channel by channel, into -1…1; quantised ones get BOS in
front. It does not know files, nor how the autoencoder was trained, and of the conditions it passes on class and caption only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mintage.core.spec import BOS, EOS, RESERVED, Batch, Cond, Phase, Spec, Specs
from mintage.nn.noise import Noise
from mintage.nn.trainer import without_scaffold

PASSED = ("class", "caption")
SPREAD = 32  # examples of each batch of the train split from which the range of the codes is learned
REACH = 0.999  # share of the codes of a channel that lie inside -1…1


def modelled(latent: Spec, cond: Specs) -> tuple[Spec, Specs]:
    """Target and conditions of the second model: codes (tokens begin with BOS), and what passes the first by."""
    target = latent.at(token=latent.size("token") + 1) if latent.kind == "tokens" else latent
    return target, {name: spec for name, spec in cond.items() if name in PASSED}


@dataclass(frozen=True)
class Coded(Batch):
    """A batch that holds codes already, as the second model sees them."""


class Staged(nn.Module):
    """``first`` has codes (core.protocols.Latent); ``second`` models them, in the form that ``modelled`` gives."""

    mean: Tensor
    scale: Tensor

    def __init__(self, first: Any, second: Any) -> None:
        """What the second can do beyond sampling (score, settle, enter a phase, …), the two can do."""
        super().__init__()
        self.first, self.second, self.latent = first, second, first.latent
        self.tokens = self.latent.kind == "tokens"
        channels = () if self.tokens else (self.latent.shape[0], *[1] * (len(self.latent.shape) - 1))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.register_load_state_dict_post_hook(without_scaffold)  # type: ignore[no-untyped-call]
        inside = {"log_prob": self._log_prob, "settle": self._settle, "calibrate": self._calibrate}
        for name, method in {**inside, "enter": self._enter, "watch": self._watch}.items():
            if hasattr(second, name):
                setattr(self, name, method)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Those of the second model; the first is not trained any more."""
        return tuple(replace(p, trains=tuple(f"second.{part}".rstrip(".") for part in p.trains)) for p in self.second.phases)

    @property
    def scaffold(self) -> tuple[str, ...]:
        """What only training needs, of both."""
        return tuple(f"{name}.{part}" for name in ("first", "second") for part in getattr(getattr(self, name), "scaffold", ()))

    def learn_range(self, batches: Iterable[Batch]) -> None:
        """Fit shift and scale on codes from all over the train split; call once the first model has its weights."""
        if self.tokens:
            return
        codes = torch.cat([self._encode(batch.x[:: max(1, len(batch.x) // SPREAD)]) for batch in batches])
        rows = codes.movedim(1, 0).flatten(1)  # [C, N]
        self.mean.copy_(rows.mean(1).view_as(self.mean))
        far = (rows - rows.mean(1, keepdim=True)).abs().sort(1).values
        self.scale.copy_(far[:, int(REACH * (far.shape[1] - 1))].clamp(min=1e-6).view_as(self.scale))

    def _encode(self, x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Codes in full precision unless said otherwise: scores must be the same on every machine's number type."""
        with torch.no_grad(), torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            codes: Tensor = self.first.encode(x)
        return codes

    def inside(self, batch: Batch, dtype: torch.dtype = torch.float32) -> Coded:
        """The batch as the second model sees it."""
        if isinstance(batch, Coded):
            return batch
        codes = self._encode(batch.x, dtype)
        begun = torch.cat([torch.full_like(codes[:, :1], BOS), codes], 1)  # [B, 1 + T]
        x = begun if self.tokens else ((codes - self.mean) / self.scale).clamp(-1, 1)
        cond = {name: value for name, value in batch.cond.items() if name in PASSED}
        return Coded(x, cond, batch.weight, torch.full((len(x),), x.shape[-1]), batch.ids)

    def loss(self, batch: Batch, phase: Phase, progress: float, noise: Noise) -> dict[str, Tensor]:
        """The second model's losses on the codes."""
        found: dict[str, Tensor] = self.second.loss(self.inside(batch), phase, progress, noise)
        return found

    def _log_prob(self, batch: Batch) -> Tensor:
        """Nats of the codes, not of the examples. [B]"""
        found: Tensor = self.second.log_prob(self.inside(batch))
        return found

    def _settle(self, batches: Iterable[Batch]) -> None:
        self.second.settle(map(self.inside, batches))

    def _calibrate(self, train: Iterable[Batch], held: Iterable[Batch]) -> None:
        self.second.calibrate(map(self.inside, train), map(self.inside, held))

    def _enter(self, phase: Phase, ema: Mapping[str, Tensor]) -> None:
        self.second.enter(phase, {k.removeprefix("second."): v for k, v in ema.items() if k.startswith("second.")})

    def _watch(self, batch: Batch, progress: float, noise: Noise) -> Any:
        return self.second.watch(self.inside(batch), progress, noise)

    def sample(self, cond: Cond, noise: Noise, knobs: Mapping[str, Any]) -> Iterator[Tensor]:
        """Codes are drawn to the end, then decoded once."""
        asked = {name: value for name, value in cond.items() if name in PASSED}
        if self.tokens:
            whole = {"temperature": 1.0, **knobs, "length": self.latent.shape[0], "forbid": (EOS,)}
            *_, ids = self.second.sample(asked, noise, whole)
            codes = self._content(ids)
        else:
            *_, z = self.second.sample(asked, noise, knobs)
            codes = z * self.scale + self.mean
        x: Tensor = self.first.decode(codes)
        yield x.clamp(-1, 1) if x.is_floating_point() else x

    def _content(self, ids: Tensor) -> Tensor:
        """The drawn ids that are codes, in their order; a short row is filled up. [B, t] → [B, T]"""
        order = (ids < RESERVED).long().argsort(dim=1, stable=True)
        ids = nn.functional.pad(ids.gather(1, order), (0, self.latent.shape[0]))[:, : self.latent.shape[0]]
        return ids.clamp(RESERVED, self.latent.vocab - 1)
