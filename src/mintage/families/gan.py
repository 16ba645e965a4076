"""Adversarial networks for grids: a generator and its critics teach each other; a sample costs one evaluation.

Three games: R3 (relativistic pairs with a gradient penalty on both sides, Huang et al., 2501.05441), Wasserstein with
gradient penalty (Gulrajani et al., 1704.00028) and the classic non-saturating one (Goodfellow et al., 1406.2661) with a
penalty on real data (Mescheder et al., 1801.04406). The penalty of the first and the last is taken by a forward
difference (Lin et al., 2501.08316), which needs no second derivative. The generator's average is the model; the critics
stay in checkpoints. It does not know files, media, schedules or precision; it looks at class and caption alone, so what
is known of a grid is pasted over what it makes, not heeded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mintage.core.config import Within
from mintage.core.errors import UsageError
from mintage.core.spec import Alarm, Batch, Cond, Phase, Spec, Specs
from mintage.core.words import say
from mintage.nn.axes import KINDS
from mintage.nn.condition import Condition, apart, thinned
from mintage.nn.critics import Critic, conv_critic, mlp_critic
from mintage.nn.diffaugment import augment
from mintage.nn.generators import DcganGenerator, MlpGenerator
from mintage.nn.noise import Noise
from mintage.nn.style import StyleGenerator
from mintage.nn.trainer import without_scaffold

STEP = 0.05  # of the forward difference
SPARE = 4  # one picture in so many is asked for its slope
LEASH = 10.0  # weight of Wasserstein's penalty
TARGET = 0.6  # how surely the critic may tell pairs before augmentation grows
PACE = 1 / 40_000  # growth of its probability a picture
MOST = 0.8
LR, PENALTY = 1e-3, 0.1  # for grids of 8 cells a side
FEWEST, NARROWEST = 0.2, 0.2  # of the data's variety and spread, below which what is made counts as collapsed
MANY = 256  # codes whose mean style is the middle
FEW = 8  # examples in a batch, below which variety means nothing
YOUNG = 0.15  # progress up to which a generator may look collapsed and still come right


@dataclass(frozen=True)
class Config:
    """What a person may set; ``fit`` chooses for the data and the minutes.

    Attributes:
        generator: Network that makes: mlp, dcgan or style (of pictures).
        critic: Network that judges: conv or mlp.
        critics: How many critics judge.
        loss: Game they play: r3, wasserstein or classic.
        penalty: Weight of the gradient penalty of r3 and classic; 0 = none.
        critic_steps: Steps of the critics for each one of the generator.
        freeze_critic: Stages of the critics, from the picture's side, that are not trained.
        diffaugment: Whether critics see altered pictures: none, always or adaptive.
        latent: Length of the code.
        width: Channels at the finest level.
        depth: Blocks of each level.
    """

    generator: Literal["mlp", "dcgan", "style"] = "dcgan"
    critic: Literal["conv", "mlp"] = "conv"
    critics: Annotated[int, Within(1, 8)] = 1
    loss: Literal["r3", "wasserstein", "classic"] = "r3"
    penalty: Annotated[float, Within(0, 1e6)] = PENALTY
    critic_steps: Annotated[int, Within(1, 64)] = 1
    freeze_critic: Annotated[int, Within(0, 16)] = 0
    diffaugment: Literal["none", "always", "adaptive"] = "none"
    latent: Annotated[int, Within(1, 4096)] = 64
    width: Annotated[int, Within(4, 1024)] = 32
    depth: Annotated[int, Within(1, 16)] = 1


@dataclass(frozen=True)
class Knobs:
    """How to sample.

    Attributes:
        truncation: How far samples may lie from the middle of what was learned; below 1 safer and less varied.
        mix: Seed of a second sample whose styles are taken from layer ``mix_from`` on; -1 = none.
        mix_from: First layer that takes the second sample's style, counted from the coarse end.
    """

    truncation: Annotated[float, Within(0, 2)] = 1.0
    mix: Annotated[int, Within(-1, 1 << 62)] = -1
    mix_from: Annotated[int, Within(0, 64)] = 4


class Model(nn.Module):
    """A generator and its critics."""

    adversarial = True  # its losses are moves in a game: none of them has to fall
    scaffold = ("critics", "altered")
    altered: Tensor

    def __init__(self, target: Spec, cond: Specs, config: Config) -> None:
        """Networks from the specs."""
        super().__init__()
        if len(target.shape) != 3 and config.generator == "style":
            raise UsageError(say("-o generator=style makes pictures; choose dcgan or mlp here."))
        if len(target.shape) == 1 and config.diffaugment != "none":
            raise UsageError(say("-o diffaugment alters pictures and clips; leave it out for rows of numbers."))
        self.target, self.config = target, config
        shape, latent, width = target.shape, config.latent, config.width
        self.condition = Condition(cond, latent)
        given = latent if self.condition.given else 0
        inner = (shape, latent, given, width)
        self.generator: MlpGenerator | DcganGenerator | StyleGenerator
        if config.generator == "dcgan":
            self.generator = DcganGenerator(*inner, config.depth)
        else:
            self.generator = (StyleGenerator if config.generator == "style" else MlpGenerator)(*inner)
        critics = [
            conv_critic(shape, cond, width, config.depth) if config.critic == "conv" else mlp_critic(shape, cond, width)
            for _ in range(config.critics)
        ]
        self.critics = nn.ModuleList(critics)
        self.register_buffer("altered", torch.tensor(1.0 if config.diffaugment == "always" else 0.0))
        self.register_load_state_dict_post_hook(without_scaffold)  # type: ignore[no-untyped-call]
        wide = config.loss == "wasserstein"  # its critic must stay ahead, or the two circle each other
        betas, slow = ((0.0, 0.9), 0.5) if wide else ((0.0, 0.99), 1.0)
        free = [f"critics.{i}.{name}" for i in range(config.critics) for name in ("head", "condition")]
        for i, critic in enumerate(critics):
            free += [f"critics.{i}.stages.{j}" for j in range(config.freeze_critic, len(critic.stages))]
        self.phases = (
            Phase("critic", tuple(free), optim="adamw", betas=betas),
            Phase("generator", ("generator", "condition"), every=config.critic_steps, optim="adamw", betas=betas, lr=slow),
        )

    @staticmethod
    def refuse(target: Spec, cond: Specs) -> str | None:
        """Rows, pictures and clips."""
        if target.kind != "grid":
            return say("gan needs a grid of numbers, not tokens.")
        if len(target.shape) - 1 not in KINDS:
            return say("gan works on rows of numbers, pictures and clips, not on grids of {n} axes.", n=len(target.shape))
        return None

    @staticmethod
    def fit(target: Spec, cond: Specs, n: int, minutes: float, speed: float) -> tuple[Config, dict[str, Any]]:
        """Sizes for this job; nothing of a grid is ever known to a generator of this kind, so no batch repaints.

        The penalty grows with the side: .1 was best of three on digits (8 pixels), where .1 lost MNIST to its critic. Width 48
        in place of 32 on MNIST took fewer steps in 50 s and was far behind, so width waits for minutes.
        """
        row, size = len(target.shape) == 1, target.shape[1:]
        side = math.prod(size) ** 0.5  # of a clip as if its frames lay side by side
        config = Config(
            penalty=round(PENALTY * max(1.0, side / 8), 3),
            width=64 if row or (minutes * speed > 40 * math.prod(size) and n >= 5_000) else 32,
            diffaugment="adaptive" if n < 1_000 and not row else "none",
        )
        batch = 256 if row else 64 if len(size) == 2 else 32
        return config, {"batch": batch, "lr": LR, "ema": 0.03, "decay": 0.5, "clip": 10.0, "weight_decay": 0.0, "repair": 0.0}

    def _given(self, cond: Cond, rows: int) -> Tensor:
        """The condition's vector for the generator; no columns where nothing can be asked for."""
        found: Tensor = self.condition(cond, rows) if self.condition.given else torch.zeros(rows, 0)
        return found

    def _make(self, cond: Cond, rows: int, noise: Noise) -> Tensor:
        z = noise.fork("z").normal((rows, self.config.latent)).to(self.altered.device)
        made: Tensor = self.generator(z, self._given(cond, rows).to(z.device), noise.fork("grain"))
        return made

    def _seen(self, x: Tensor, noise: Noise) -> Tensor:
        """What critics get to see of pictures."""
        return x if self.config.diffaugment == "none" else augment(x, self.altered, noise.fork("augment"))

    def loss(self, batch: Batch, phase: Phase, progress: float, noise: Noise) -> dict[str, Tensor]:
        """One move of the critics, or of the generator."""
        rows, critics = len(batch.x), [critic for critic in self.critics if isinstance(critic, Critic)]
        asked = {name: ids for name, ids in batch.cond.items() if name in ("class", "caption")}
        cond: Cond = apart(thinned(asked, noise.fork("thin")), noise.fork("apart"))
        if phase.name == "generator":
            made = self._seen(self._make(cond, rows, noise), noise.fork("made"))
            with torch.no_grad():
                real = self._seen(batch.x, noise.fork("real"))
                marks = [critic(real, cond) if self.config.loss == "r3" else batch.x.new_zeros(rows) for critic in critics]
            return {"game": torch.stack([self._fool(m, c(made, cond)) for m, c in zip(marks, critics, strict=True)]).mean(0)}
        with torch.no_grad():
            x = self._seen(torch.cat([batch.x, self._make(cond, rows, noise)]), noise)
        cond = {name: torch.cat([ids, ids]) for name, ids in cond.items()}
        parts = [self._criticise(critic, x, cond, noise.fork("critic", i)) for i, critic in enumerate(critics)]
        return {name: torch.stack([part[name] for part in parts]).mean(0) for name in parts[0]}

    def _fool(self, real: Tensor, made: Tensor) -> Tensor:
        """The generator's side of the game. [B], [B] → [B]"""
        if self.config.loss == "wasserstein":
            return -made
        return F.softplus(real - made) if self.config.loss == "r3" else F.softplus(-made)

    def _criticise(self, critic: Critic, x: Tensor, cond: Cond, noise: Noise) -> dict[str, Tensor]:
        """A critic's side of the game and its penalty; the first half of ``x`` [2 B, ...] is real."""
        rows, kind = len(x) // 2, self.config.loss
        score = critic(x, cond)
        real, made = score.split(rows)
        if self.config.diffaugment == "adaptive":
            sure = (real - made).detach().sign().mean() - TARGET
            self.altered.add_(sure.sign() * rows * PACE).clamp_(0, MOST)
        if kind == "wasserstein":
            return {"game": made - real, "penalty": LEASH * self._slope(critic, x, cond, noise)}
        found = {"game": F.softplus(made - real) if kind == "r3" else F.softplus(-real) + F.softplus(made)}
        if self.config.penalty:
            found["penalty"] = self._bump(critic, x, cond, score, noise)
        return found

    def _bump(self, critic: Critic, x: Tensor, cond: Cond, score: Tensor, noise: Noise) -> Tensor:
        """Squared slope of the critic at a share of the pictures, by a forward difference. [B]"""
        rows = len(x) // 2
        n = -(-rows // SPARE)
        at = torch.arange(n, device=x.device)
        at = torch.cat([at, at + rows]) if self.config.loss == "r3" else at
        shaken = x[at] + STEP * noise.normal((len(at), *x.shape[1:])).to(x.device)
        moved = (critic(shaken, {name: ids[at] for name, ids in cond.items()}) - score[at]) / STEP
        slope = self.config.penalty / 2 * moved.square().view(-1, n).sum(0)
        return F.pad(slope * (rows / n), (0, rows - n))

    def _slope(self, critic: Critic, x: Tensor, cond: Cond, noise: Noise) -> Tensor:
        """How far the gradient's norm is from 1 between real and made pictures. [B]"""
        rows = len(x) // 2
        t = noise.uniform((rows, *[1] * (x.ndim - 1))).to(x.device)
        between = torch.lerp(x[:rows], x[rows:], t).requires_grad_()
        score = critic(between, {name: ids[:rows] for name, ids in cond.items()})
        (slope,) = torch.autograd.grad(score.sum(), between, create_graph=True)
        found: Tensor = (slope.flatten(1).float().norm(dim=1) - 1).square()
        return found

    def watch(self, batch: Batch, progress: float, noise: Noise) -> Alarm | None:
        """Has the generator collapsed, or has the critic won so far that nothing teaches any more?"""
        if progress < YOUNG or len(batch.x) < FEW:
            return None
        seen, width = self.variety(batch, noise)
        if seen > FEWEST and width > NARROWEST:
            return None
        sentence = "What is made varies too little: {width} of the data's spread, and {seen} of its items are anything's nearest."
        return Alarm(
            say(sentence, width=f"{100 * width:.0f} %", seen=f"{100 * seen:.0f} %"),
            {"lr": f"{LR:g}", "loss": "r3", "penalty": f"{2 * self.config.penalty or PENALTY:g}"},
        )

    def variety(self, batch: Batch, noise: Noise) -> tuple[float, float]:
        """How much the live generator varies, each as a share of what data do.

        Returns:
            How many different items of the batch are the nearest one of something made; how far two things made for one
            condition lie apart (1 where the data cannot tell, under captions).
        """
        rows, x = len(batch.x), batch.x.flatten(1).float()
        made, other = (self._make(batch.cond, rows, noise.fork(i)).flatten(1).float() for i in range(2))
        half = rows // 2
        seen = _distinct(made[:half], x[half:]) / _distinct(x[:half], x[half:])  # few items, few to be nearest: compare alike
        kin = torch.ones(rows, rows, dtype=torch.bool, device=x.device)
        if "class" in batch.cond:
            kin = batch.cond["class"][:, None] == batch.cond["class"]
        kin = kin & ~torch.eye(rows, dtype=torch.bool, device=x.device)
        if "caption" in batch.cond or not kin.any():
            return seen, 1.0
        return seen, float((made - other).norm(dim=1).mean() / torch.cdist(x, x)[kin].mean().clamp(min=1e-6))

    def sample(self, cond: Cond, noise: Noise, knobs: Mapping[str, Any]) -> Iterator[Tensor]:
        """One evaluation."""
        shrink, mix = float(knobs.get("truncation", 1.0)), int(knobs.get("mix", -1))
        rows, latent = noise.rows, self.config.latent
        given, z = self._given(cond, rows).to(self.altered.device), self._code(noise)
        if not isinstance(self.generator, StyleGenerator):
            if mix >= 0:
                raise UsageError(say("-o mix={mix}: this model has no styles; train one with -o generator=style.", mix=mix))
            yield self.generator(shrink * z, given, noise.fork("grain"))
            return
        net = self.generator
        styles = [net.style(z, given)] * net.layers
        if mix >= 0:
            at = int(knobs.get("mix_from", 4))
            other = net.style(self._code(Noise.rows_of([mix] * rows)), given)
            styles[at:] = [other] * len(styles[at:])
        if shrink != 1:
            many = Noise("middle").normal((MANY, latent)).to(z.device)
            middle = torch.stack([net.style(many, row.expand(MANY, -1)).mean(0) for row in given])
            styles = [torch.lerp(middle, w, shrink) for w in styles]
        yield net.draw(styles, noise.fork("grain"))

    def _code(self, noise: Noise) -> Tensor:
        return noise.fork("z").normal((noise.rows, self.config.latent)).to(self.altered.device)


def _distinct(made: Tensor, real: Tensor) -> float:
    """How many of the real items are nearest to something made, as a share of what was made."""
    near = torch.cdist(made, real).argmin(1)
    return len(torch.unique(near)) / len(near)
