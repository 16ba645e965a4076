"""Flow matching for grids (rows of numbers, pictures, clips and whatever is laid out as one), ending in a one-step sampler.

First phase: a U-Net learns the velocity from noise to data (Lipman et al., 2210.02747; Liu et al., 2209.03003) under
class and caption dropout, so that it can be guided (Ho & Salimans, 2207.12598); a caption reaches it as one vector, as single
words to look at, and as a first guess (``nn.guess``). Second phase: a copy of its average is
taught, on pairs of noise and guided samples that the first net makes as it goes, to jump in one evaluation (Luhman &
Luhman, 2101.02388); large grids, and those drawn by caption, are walked to instead. Data that lie on the rails -1 and 1
(ink, silence) are met there exactly: a young net's samples are stretched a little by the share of such values, all are
clipped, and the student is not pulled back from beyond a rail; without this, faint shimmer costs more than everything
else. It does not know files, media, schedules or precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional as F

from mintage.core.config import SHARE, Within
from mintage.core.errors import UsageError
from mintage.core.spec import PAD, Batch, Cond, Phase, Spec, Specs
from mintage.core.words import say
from mintage.nn.axes import KINDS, patch_of, side_of
from mintage.nn.condition import apart, thinned, without
from mintage.nn.guess import Guess
from mintage.nn.noise import Noise
from mintage.nn.unet import UNet

EMBEDDING = 128
FREQUENCIES = 32
DROP = 0.1  # share of examples that are trained without class and caption
HUBER = 0.1  # where the one-step loss turns from square to absolute
RAIL = 0.99
POOL_BYTES = 64 << 20
SHIFT = 0.6  # the time grid of samplers: denser near the noise
JUMPS = 2_500  # numbers in a grid, at most, that one step is taught to make,
FEW, TINY = 10_000, 256  # and where fewer examples than FEW teach
MATURE, LONG = 40, 50_000  # what wider nets need: minutes x speed (GFLOP/s) a pixel, and in all
WALK = 6  # steps of Heun's method otherwise


@dataclass(frozen=True)
class Config:
    """What a person may set; ``fit`` chooses for the data and the minutes.

    Attributes:
        widths: Channels of each level of the U-Net, fine to coarse.
        depths: Blocks of each level.
        attention: Levels with attention.
        patch: Side of the pixel squares that become channels.
        dropout: Share of channels hidden in training.
        distil: Share of the training that teaches the one-step sampler.
        grow: New pairs for it a step, as a share of the batch.
        pool: Most pairs kept.
        teacher: Steps of the sampler that makes the pairs.
        guidance: How far samples are pushed towards what was asked; 1 = not.
        stretch: How far samples are stretched towards the rails if all data lie on them; 0 = not.
    """

    widths: tuple[int, ...] = (32, 64)
    depths: tuple[int, ...] = (2, 4)
    attention: tuple[int, ...] = ()
    patch: Annotated[int, Within(1, 8)] = 2
    dropout: Annotated[float, Within(0, 0.95)] = 0.0
    distil: Annotated[float, SHARE] = 0.35
    grow: float = 0.1
    pool: int = 16_384
    teacher: int = 8
    guidance: float = 1.25
    stretch: float = 0.125


def couple(x: Tensor, z: Tensor, cond: Cond) -> Tensor:
    """Reorder the noise so that it lies near the data, within each class: straighter paths (Tong et al., 2302.00482).

    Only where nothing else is given; a caption or a known part would become readable from the noise.
    """
    if set(cond) - {"class"}:
        return z
    group, found = cond.get("class", x.new_zeros(len(x))), z.clone()
    for name in torch.unique(group):
        rows = (group == name).nonzero()[:, 0]
        near = (x[rows].flatten(1) @ z[rows].flatten(1).T).float().cpu()
        found[rows] = z[rows[torch.from_numpy(linear_sum_assignment(near.numpy(), maximize=True)[1]).to(x.device)]]
    return found


@dataclass(frozen=True)
class Knobs:
    """How to sample.

    Attributes:
        steps: Evaluations of the one-step sampler (1), or steps of Heun's method; 0 takes the one step if it was taught, else six.
        guidance: How far samples are pushed towards what was asked, from 2 steps on; 0 takes the trained value.
    """

    steps: int = 0
    guidance: float = 0.0


class Velocity(nn.Module):
    """The velocity at a noisy grid, its time and its condition. Time 0 is noise, 1 is data."""

    frequencies: Tensor

    def __init__(self, target: Spec, cond: Specs, config: Config) -> None:
        """Sizes from the specs; ``known`` and ``mask`` always have their input channels."""
        super().__init__()
        channels, *size = target.shape
        self.channels, self.source = channels, cond["source"].shape[0] if "source" in cond else 0
        self.masks = 1 if size else channels  # of a row each number is known or not
        inputs = 2 * channels + self.masks + self.source
        shape = config.widths, config.depths, config.attention, config.patch
        told, guess = (3 * EMBEDDING, channels) if "caption" in cond else (0, 0)
        self.net = UNet(inputs, channels, size, *shape, EMBEDDING, config.dropout, told, guess)
        self.straight = None if size else nn.Linear(EMBEDDING, channels)  # a norm over a row would lose how far it lies
        self.register_buffer("frequencies", torch.logspace(0, 2.3, FREQUENCIES), persistent=False)
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING))
        self.null = cond["class"].vocab if "class" in cond else 0
        self.class_embedding = nn.Embedding(self.null + 1, EMBEDDING) if "class" in cond else None
        self.words_embedding = nn.Embedding(cond["caption"].vocab, EMBEDDING) if "caption" in cond else None
        self.position_embedding = nn.Parameter(torch.zeros(cond["caption"].shape[0], EMBEDDING)) if "caption" in cond else None
        self.words = nn.Sequential(nn.Linear(2 * EMBEDDING, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING))

    def _embed(self, t: Tensor, cond: Cond) -> Tensor:
        """Time, class and caption as one vector [B, E]."""
        angle = t[:, None] * self.frequencies
        found: Tensor = self.time(torch.cat([angle.sin(), angle.cos()], 1))
        if self.class_embedding is not None:
            absent = torch.full(t.shape, self.null, dtype=torch.int64, device=t.device)
            found = found + self.class_embedding(cond.get("class", absent))
        if self.words_embedding is not None and "caption" in cond:
            ids = cond["caption"]
            there = (ids != PAD).float()[..., None]  # [B, L, 1]
            rows = self.words_embedding(ids) * there
            pairs = torch.tanh(rows[:, 1:] + rows[:, :-1].roll(1, -1))  # order of neighbours
            count = there.sum(1).clamp(min=1)
            words = self.words(torch.cat([rows.sum(1) / count, pairs.sum(1) / count], 1))
            found = found + words * there.amax(1) + rows.sum(1) / count.sqrt()  # words that never met add up
        return found

    def _words(self, cond: Cond) -> tuple[Tensor, Tensor] | None:
        """Each word of the caption between its neighbours [B, L, 3 E], and whether it is there [B, L]."""
        if self.words_embedding is None or self.position_embedding is None or "caption" not in cond:
            return None
        there = cond["caption"] != PAD
        rows = (self.words_embedding(cond["caption"]) + self.position_embedding) * there[..., None]
        beside = F.pad(rows, (0, 0, 1, 1))
        return torch.cat([rows, beside[:, :-2], beside[:, 2:]], 2), there

    def forward(self, x: Tensor, t: Tensor, cond: Cond, noise: Noise | None = None) -> Tensor:
        """[B, C, ...] → the same; ``noise`` only in training."""
        b, _, *size = x.shape
        shapes = {"known": self.channels, "mask": self.masks, "source": self.source}
        more = [cond[name] if name in cond else x.new_zeros(b, n, *size) for name, n in shapes.items() if n]
        said = cond if noise is None else thinned(cond, noise.fork("thin"))
        embedding = self._embed(t, said)
        result: Tensor = self.net(torch.cat([x, *more], 1), embedding, noise, self._words(said), cond.get("guess"))
        return result if self.straight is None else result + self.straight(F.silu(embedding)) * x


class Pool(nn.Module):
    """Pairs of noise and sample, kept so that a resume goes on exactly; the noise is drawn again from its key."""

    x: Tensor
    made: Tensor

    def __init__(self, limit: int) -> None:
        """Empty; ``limit`` pairs at most, then the oldest go."""
        super().__init__()
        self.limit = limit
        self.register_buffer("made", torch.zeros((), dtype=torch.int64))

    def _load_from_state_dict(self, state: Mapping[str, Any], prefix: str, *_: Any) -> None:
        """Take over whatever rows were saved; a model folder has none."""
        self.reset()
        for name, tensor in state.items():
            if name.startswith(prefix):
                self.register_buffer(name.removeprefix(prefix), tensor.clone())

    def reset(self) -> None:
        """Forget all pairs."""
        for name in [name for name, _ in self.named_buffers()]:
            delattr(self, name)
        self.register_buffer("made", torch.zeros((), dtype=torch.int64))

    @staticmethod
    def noise(keys: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The noise of the pairs with these keys, [B, ...]."""
        return Noise("pool", rows=keys.tolist()).normal((len(keys), *shape))

    def next(self, n: int) -> Tensor:
        """Keys of the next n pairs."""
        return torch.arange(int(self.made), int(self.made) + n)

    def add(self, keys: Tensor, rows: Mapping[str, Tensor]) -> None:
        """Keep new pairs: ``x`` and the conditions it was made under, all [n, ...]."""
        for name, row in {"keys": keys, **rows}.items():
            row = (row * 127).round().to(torch.int8) if row.is_floating_point() else row  # -1, 0 and 1 are exact
            old = getattr(self, name, row[:0]).to(row.device)
            self.register_buffer(name, torch.cat([old, row])[-self.limit :])
        self.made += len(keys)

    def draw(self, n: int, noise: Noise) -> dict[str, Tensor]:
        """N random pairs, with ``keys`` among them."""
        rows = dict(self.named_buffers())
        rows.pop("made")
        at = noise.integers(0, len(rows["keys"]), (n,))
        found = {name: row[at] for name, row in rows.items()}
        return {name: row.float() / 127 if row.dtype == torch.int8 else row for name, row in found.items()}


def _row(n: int, minutes: float, speed: float) -> tuple[Config, dict[str, Any]]:
    """Sizes for rows."""
    config = Config(widths=(256,), depths=(4,), patch=1, dropout=0.05 if n < 5_000 else 0.0, teacher=8, guidance=1.0, stretch=0.0)
    return config, {"batch": 256, "lr": 0.002, "ema": 0.03, "decay": 0.5}


class Model(nn.Module):
    """The velocity net, and the student that jumps."""

    scaffold = ("pool",)
    rails: Tensor
    distilled: Tensor

    def __init__(self, target: Spec, cond: Specs, config: Config) -> None:
        """One net for each phase, of one shape."""
        super().__init__()
        cell = config.patch * 2 ** (len(config.widths) - 1)
        levels = (*config.widths, *config.depths)
        fits = len(target.shape) == 1 or cell <= side_of(target.shape[1:])
        if not config.widths or len(config.widths) != len(config.depths) or min(levels) < 1 or not fits:
            raise UsageError(
                say("-o widths and -o depths: one number above 0 for each level, and no more levels than the size can be halved.")
            )
        self.target, self.config = target, config
        self.guess = Guess(target.shape) if "caption" in cond else None
        self.net = Velocity(target, cond, config)
        self.student = Velocity(target, cond, config) if config.distil else None
        self.pool = Pool(max(64, min(config.pool, POOL_BYTES // torch.Size(target.shape).numel())))
        self.register_buffer("rails", torch.zeros(()))  # share of the data's values on -1 or 1
        self.register_buffer("distilled", torch.zeros((), dtype=torch.bool))
        turn, optim = 1 - config.distil, "muon" if len(target.shape) > 1 else "adamw"  # rows are too few numbers for Muon
        self.phases = (
            Phase("flow", ("net",), stop=turn, optim=optim),
            *([Phase("jump", ("student",), start=turn, optim=optim, lr=0.5)] if config.distil else []),
        )

    @staticmethod
    def refuse(target: Spec, cond: Specs) -> str | None:
        """Rows, pictures and clips."""
        if target.kind != "grid":
            return say("flow needs a grid of numbers, not tokens.")
        if len(target.shape) - 1 not in KINDS:
            return say("flow works on rows of numbers, pictures and clips, not on grids of {n} axes.", n=len(target.shape))
        return None

    @staticmethod
    def fit(target: Spec, cond: Specs, n: int, minutes: float, speed: float) -> tuple[Config, dict[str, Any]]:
        """Sizes from arithmetic a pixel: narrow while images seen are what is short, wide when they are not.

        Width 32 drew MNIST as well after 90 s as width 64, which saw fewer pictures, and costs half as much to sample.
        Guidance and stretch pay only while the net is young: at guidance 1.2 MNIST's distance (90 s, three steps) was a
        third of that at 1, while digits' (60 s) at 1 was less than half of that at 1.25 and best unstretched.
        A wider net for ten minutes lost: MNIST .277 in place of .007 (kernel distance), digits .132 in place of .071.
        Halving goes on to 8 cells a side, where attention is cheap; it is worth its time from 48 pixels on, and of clips
        always: it joins the frames. Four blocks there in place of two drew moving dots better in a quarter fewer steps.
        Clips of 32 px in squares of four take half the time a step, and an outside judge read 99 % of actions as asked.
        The jump is for small grids: photos of 64 px after 30 min lay 2.4 times as far in one step as in a walk of eight with
        guidance 1.5, drawings by caption after 8 min 7 times, 1,520 pieces of clothing of 28 px after 8 min 4 times; and the walk
        gets the jump's time too.
        """
        if len(target.shape) == 1:
            return _row(n, minutes, speed)
        size, clip, levels = target.shape[1:], len(target.shape) == 4, 2
        side, pixels, patch = side_of(size), math.prod(size), patch_of(size)  # pixels of all frames
        patch = 4 if clip and side >= 32 else patch
        while side / (patch * 2 ** (levels - 1)) > 8:
            levels += 1
        plenty = minutes * speed / pixels
        jumps = target.shape[0] * pixels <= (JUMPS if n >= FEW else TINY) and "caption" not in cond
        young = plenty < (12 if pixels <= TINY else MATURE)
        width = 32 if plenty < MATURE or minutes * speed < LONG else 64 if plenty < 20 * MATURE else 96
        width = max(64, width) if patch == 4 else width  # a square of four has sixteen pixels to say
        fine, coarse = 1 if plenty < 1 else 2, 2 if plenty < 1 and not clip else 4
        config = Config(
            widths=tuple(width * min(4, 2**i) for i in range(levels)),
            depths=(fine,) * (levels - 1) + (coarse,),
            attention=(levels - 1,) if side >= 48 or clip else (),
            patch=patch,
            dropout=0.05 if n < 5_000 else 0.0,
            teacher=4 if young else 12,
            guidance=2.0 if not jumps else 1.3 if young else 1.0,
            stretch=0.125 if young else 0.0,
            grow=0.25 if young else 0.1,  # a young net wants many quick pairs: 4,000 slow ones cost MNIST fourfold
            distil=0.0 if not jumps else 0.4 if young else 0.35,
        )
        batch = 128 if pixels <= 32 * 32 else 16 if clip else 64
        return config, {"batch": batch, "lr": 0.02, "ema": 0.03, "decay": 0.5}

    def settle(self, batches: Iterable[Batch]) -> None:
        """Fit the first guess from captions, where there are any."""
        if self.guess is not None:
            self.guess.settle(batches)

    def inherit(self, base: Mapping[str, Tensor]) -> None:
        """The first guess of a base, for its network was taught with it."""
        own = {name.removeprefix("guess."): value for name, value in base.items() if name.startswith("guess.")}
        if self.guess is not None and own:
            self.guess.load_state_dict(own)

    def _told(self, cond: Cond) -> Cond:
        """The condition, with a first guess from its caption."""
        if self.guess is None or "caption" not in cond:
            return cond
        return {**cond, "guess": self.guess(cond["caption"])}

    def enter(self, phase: Phase, ema: Mapping[str, Tensor]) -> None:
        """The jump starts from the averaged flow, which is also its teacher."""
        if phase.name != "jump" or self.student is None:
            return
        own = {name.removeprefix("net."): value for name, value in ema.items() if name.startswith("net.")}
        self.net.load_state_dict(own)
        self.student.load_state_dict(own)
        self.pool.reset()
        self.distilled.fill_(True)

    def loss(self, batch: Batch, phase: Phase, progress: float, noise: Noise) -> dict[str, Tensor]:
        """One loss an example: the velocity's square error, or the jump's distance from the teacher's sample."""
        return self._jump(batch, noise) if phase.name == "jump" else self._flow(batch, noise)

    def _flow(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        x, rows = batch.x, len(batch.x)
        self.rails.lerp_((x.abs() > RAIL).float().mean(), 0.02)
        z = couple(x, noise.normal(x.shape).to(x.device), batch.cond)
        t = torch.sigmoid(noise.normal((rows,)) - 0.4).to(x.device)
        drop = noise.mask((rows,), DROP).to(x.device)
        at = t.view(-1, *[1] * (x.ndim - 1))
        cond = self._told(without(apart(batch.cond, noise.fork("apart")), self.net.null, drop))
        v = self.net((1 - at) * z + at * x, t, cond, noise)
        return {"velocity": (v - (x - z)).square().flatten(1).mean(1)}

    def _jump(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        rows, shape = len(batch.x), tuple(batch.x.shape[1:])
        new = min(rows, max(1, round(rows * self.config.grow))) if int(self.pool.made) else rows
        keys, cond = self.pool.next(new), {name: value[:new] for name, value in batch.cond.items()}
        z = self.pool.noise(keys, shape).to(batch.x.device)
        with torch.no_grad():
            *_, made = self._walk(z, cond, self.config.teacher, self.config.guidance)
        mask = cond.pop("mask", torch.zeros_like(z[:, : self.net.masks]))
        made = torch.where(mask > 0, cond.pop("known", z), self._snap(made))
        self.pool.add(keys, {"x": made, "mask": mask, **cond})
        pair = self.pool.draw(rows, noise)
        x, z = pair.pop("x"), self.pool.noise(pair.pop("keys"), shape).to(batch.x.device)
        pair["known"] = x * pair["mask"]
        assert self.student is not None  # there is no such phase without it
        y = z + self.student(z, torch.zeros(rows, device=x.device), self._told(pair), noise)
        beyond = (x <= -1) & (y < -1) | (x >= 1) & (y > 1)
        return {"jump": F.smooth_l1_loss(torch.where(beyond, x, y), x, beta=HUBER, reduction="none").flatten(1).mean(1)}

    def _snap(self, x: Tensor) -> Tensor:
        """Stretch by the share of values on the rails, and clip."""
        return (x * (1 + self.config.stretch * self.rails)).clamp(-1, 1)

    def _velocity(self, x: Tensor, t: float, cond: Cond, guidance: float) -> tuple[Tensor, Tensor]:
        """The guided velocity whose end lies inside the data's range, and that end."""
        time = torch.full((len(x),), t, device=x.device)
        v = self.net(x, time, cond)
        if guidance != 1 and ("class" in cond or "caption" in cond):
            free = {name: value for name, value in without(cond, self.net.null).items() if name != "guess"}
            v = v + (guidance - 1) * (v - self.net(x, time, free))
        end = (x + (1 - t) * v).clamp(-1, 1)
        return (end - x) / (1 - t), end

    def _walk(self, x: Tensor, cond: Cond, steps: int, guidance: float) -> Iterator[Tensor]:
        """Heun's method from noise to data; yields the expected end at each step, then the end."""
        times, cond = [(i / steps) * (1 - SHIFT + SHIFT * i / steps) for i in range(steps)] + [1.0], self._told(cond)
        for a, b in pairwise(times):
            v, end = self._velocity(x, a, cond, guidance)
            yield end
            y = x + (b - a) * v
            x = y if b == 1 else x + (b - a) * (v + self._velocity(y, b, cond, guidance)[0]) / 2
        yield x

    def sample(self, cond: Cond, noise: Noise, knobs: Mapping[str, Any]) -> Iterator[Tensor]:
        """One evaluation once the student is there; ``steps`` above 1 walks with ``guidance`` instead."""
        z = noise.normal((noise.rows, *self.target.shape)).to(self.rails.device)
        steps = int(knobs.get("steps", 0)) or (1 if self.distilled else WALK)
        if steps == 1 and self.distilled and self.student is not None:
            yield self._snap(z + self.student(z, torch.zeros(len(z), device=z.device), self._told(cond)))
            return
        for x in self._walk(z, cond, steps, float(knobs.get("guidance", 0)) or self.config.guidance):
            yield self._snap(x)
