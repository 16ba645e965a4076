"""A variational autoencoder: a short code for each example, and a density on codes that new examples are drawn from.

Kingma & Welling, 1312.6114: the encoder says where an example's code lies and how surely, the decoder makes the example
again, and the code pays for what it says (its divergence from the standard normal), a price that rises from nothing
(Bowman et al., 1511.06349) to ``beta`` (Higgins et al. 2017). When training is over, a mixture of Gaussians is fitted
on the codes of the train split (Ghosh et al., 1903.12436), and samples are drawn from it: one pass each. It is also a
compressor. Short texts have codes too (``nn.sentence``); of a long one it sees passages. Where a critic of patches joins
in (Larsen et al., 1512.09300) the error of a picture is absolute and edges are sharper; where codes are quantised they
are tokens, cost what they cost, and there is no price. It does not repaint, and what the code of a picture does not say
comes out as a mean: soft.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from mintage.core.config import SHARE, Within
from mintage.core.errors import UsageError
from mintage.core.spec import RESERVED, Alarm, Batch, Cond, Phase, Spec, Specs
from mintage.core.words import say
from mintage.nn.autoencoder import Coder, Convolutional, Dense, Grids
from mintage.nn.axes import KINDS
from mintage.nn.condition import apart, thinned, without
from mintage.nn.decode import Knobs as Words
from mintage.nn.mixture import Mixture
from mintage.nn.noise import Noise
from mintage.nn.patches import Patches
from mintage.nn.quantise import Finite
from mintage.nn.sentence import Sentence, begun, gathered
from mintage.nn.settled import Settled
from mintage.nn.trainer import without_scaffold

DROP = 0.1  # share of examples that are trained without class and caption
TENTH = 10  # every tenth of them chooses its size, with holdout
ACTIVE = 0.01  # nats: a number of the code that says less is not used (Burda et al., 1509.00519)
FLOOR = 1.0  # nats: a code that says less in all has collapsed
SEEN = 30  # updates before which nobody can tell
ROWS = 8  # of texts made at once
COUNTED = 4  # every fourth of them has its levels counted
DRAWS = 8  # codes behind a likelihood
CALM = 0.9  # of the density's deviations, for grids: no code lies in the tails between components, and it shows
CRITIC = 0.5  # share of the training after which the critic joins in
LEAST_SCALE = 0.1  # of a code's number; one that never moves is not blown up


@dataclass(frozen=True)
class Config:
    """What a person may set; ``fit`` chooses for the data and the minutes.

    Attributes:
        net: A convolutional network or a perceptron.
        latent: Numbers of a code.
        spatial: Numbers for each coarse cell, in place of ``latent``; 0 = one flat code.
        width: Channels of the finest level, or units of a layer of the perceptron.
        depth: Blocks of each level, or layers.
        beta: Price of what the code says; 1 is the likelihood's own.
        anneal: Share of the training in which that price rises from 0.
        pieces: Most runs of ids of a text that are learned as one, as words are.
        adversarial: Weight of a critic of patches in the second half of the training; 0 = none.
        quantise: Levels of the numbers that make one token, as 4,4,4,4; empty = codes are numbers.
    """

    net: Literal["conv", "mlp"] = "conv"
    latent: Annotated[int, Within(1, 4096)] = 32
    spatial: Annotated[int, Within(0, 64)] = 0
    width: Annotated[int, Within(8, 4096)] = 32
    depth: Annotated[int, Within(1, 64)] = 2
    beta: Annotated[float, Within(0, 1e6)] = 1.0
    anneal: Annotated[float, SHARE] = 0.1
    pieces: Annotated[int, Within(0, 1 << 16)] = 4096
    adversarial: Annotated[float, Within(0, 1000)] = 0.0
    quantise: Annotated[tuple[int, ...], Within(2, 256)] = ()


@dataclass(frozen=True)
class Knobs(Words):
    """How to sample; all but the first for texts only.

    Attributes:
        temperature: How far codes spread around the middles of the density; less is safer and duller.
        top_k: Only the k likeliest words; 0 for all.
        top_p: Only the likeliest words that together hold this share.
        length: Most new tokens.
        stop: Token sequences that end a text; they are kept.
        forbid: Ids never drawn.
        every: Words between two previews.
        cache: False recomputes the whole text at every word: slow, the same text.
    """

    temperature: Annotated[float, Within(0, 10)] = 1.0


def network(target: Spec, cond: Specs, config: Config) -> Any:
    """The network for this target."""
    given = {name: spec for name, spec in cond.items() if name in ("class", "caption")}
    numbers = len(config.quantise)
    if numbers and (config.spatial not in (0, numbers) or (not config.spatial and config.latent % numbers)):
        sentence = "-o quantise has {n} numbers: choose spatial={n}, or a latent that is a multiple of it."
        raise UsageError(say(sentence, n=numbers))
    if config.adversarial and len(target.shape) < 3:
        raise UsageError(say("-o adversarial sharpens pictures; leave it out here."))
    if target.kind == "tokens":
        return Sentence(target, given, config.latent, config.width, config.depth, config.pieces)
    sharp = config.adversarial > 0
    if config.net == "mlp":
        return Dense(target, given, config.latent, config.width, config.depth, sharp)
    return Convolutional(target, given, config.latent, config.spatial, config.width, config.depth, sharp)


def divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """Nats that each number of a code says: its divergence from the standard normal. [B, K]"""
    return (0.5 * (mean.square() + logvar.exp() - 1 - logvar)).flatten(1)


class Scale(Settled):
    """Where codes lie, to hand them on with zero mean and unit deviation."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        """Leaves codes as they are."""
        super().__init__()
        self.keep(mean=torch.zeros(1), deviation=torch.ones(1))


class Model(nn.Module):
    """Encoder, decoder, and the density on codes."""

    codes: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "grid": {"spatial": "0"},  # a short flat code: on MNIST 4 numbers a cell left a flow far behind (Fréchet 40 for 3)
        "tokens": {"spatial": "0", "quantise": "4,4,4,4"},  # likewise (12 for 3); and 1,000 levels were too many for digits
    }
    scaffold = ("critic",)
    looks = 16_000  # training examples whose codes the density is fitted on
    prefers = "grid"  # of chorales: rolls beat their sketch in five minutes, tokens did not
    whole = True  # an example is a whole text: shorter ones do not mean more of them in a step
    updates: Tensor  # []

    def __init__(self, target: Spec, cond: Specs, config: Config) -> None:
        """The network by the target's form."""
        super().__init__()
        self.target, self.config = target, config
        self.net: Coder = network(target, cond, config)
        self.groups = cond["class"].vocab if "class" in cond else 0
        self.numbers = math.prod(target.shape) or 1
        self.density = Mixture(self.groups, math.prod(self.net.code))
        self.scale = Scale()
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        dense = config.net == "mlp" and target.kind == "grid"  # Muon costs a perceptron more than it gains
        self.finite = Finite(config.quantise) if config.quantise else None
        self.critic = Patches(target.shape, 32) if config.adversarial else None
        critic = (Phase("critic", ("critic",), start=CRITIC, optim="adamw", lr=0.05),) if config.adversarial else ()
        self.phases = (Phase("code", ("net",), optim="adamw" if dense else "muon"), *critic)
        self.register_load_state_dict_post_hook(without_scaffold)  # type: ignore[no-untyped-call]  # torch does not type it
        if target.kind == "tokens":
            self.chunk = ROWS

    def __getattr__(self, name: str) -> Any:
        """One of ``Scores`` only where there is a likelihood, of grids once their levels were counted.

        So no snapshot of a training on grids is chosen by it: what reads held-out pictures best is soft.
        """
        known = name == "log_prob" and self.finite is None and self.critic is None
        if known and (not isinstance(self.net, Grids) or len(self.net.levels.table)):
            return self.bound
        return super().__getattr__(name)

    @staticmethod
    def refuse(target: Spec, cond: Specs) -> str | None:
        """Grids and texts, conditioned on a class or a caption at most."""
        if target.slots:
            return say("vae needs a grid of numbers or a text, not the columns of a table.")
        if target.kind == "grid" and len(target.shape) - 1 not in KINDS:
            return say("vae works on rows of numbers, pictures and clips, not on grids of {n} axes.", n=len(target.shape))
        if "source" in cond:
            return say("vae makes things from nothing or by class; it cannot turn one thing into another.")
        return None

    @staticmethod
    def fit(target: Spec, cond: Specs, n: int, minutes: float, speed: float) -> tuple[Config, dict[str, Any]]:
        """Sizes from arithmetic a pixel; for texts see ``nn.sentence``."""
        if target.kind == "tokens":
            text = {
                "batch": 64 if minutes < 3 else 128,
                "length": 257,
                "lr": 0.02,
                "weight_decay": 0.1,
                "warmup": 0.02,
                "ema": 0.02,
                "decay": 0.6,
            }
            pieces = 4096 if target.vocab < 1024 else 0  # a large vocabulary holds words or Chinese characters already
            return Config(latent=128, width=192, depth=2, beta=0.25, anneal=0.4, pieces=pieces), text
        numbers = math.prod(target.shape)
        pixels = math.prod(target.shape[1:])
        plenty = minutes * speed / pixels
        pictures = len(target.shape) > 1
        config = Config(
            adversarial=0.1 if pictures else 0.0,
            latent=16 if numbers < 256 else 32 if numbers < 2048 else 64,
            width=32 if plenty < 12 or minutes * speed < 10_000 else 64,
        )
        batch = 128 if pixels <= 32 * 32 else 64 if len(target.shape) == 3 else 16
        return config, {"batch": batch, "lr": 0.02, "ema": 0.03, "decay": 0.5, "repair": 0.0}

    def settle(self, batches: Iterable[Batch]) -> None:
        """Learn the words of the train split's texts; called once, before the first step."""
        if isinstance(self.net, Sentence):
            self.net.settle(batches)

    def inherit(self, base: Mapping[str, Tensor]) -> None:
        """The words of a base's texts, for its weights mean them."""
        if isinstance(self.net, Sentence):
            self.net.pieces.take(base, "net.pieces.")

    def _drawn(self, mean: Tensor, logvar: Tensor, noise: Noise) -> Tensor:
        """A code where the encoder says that it lies, [B, *code]; quantised, the code itself."""
        if self.finite is not None:
            return self._joined(self.finite(self._vectors(mean)))
        return mean + (0.5 * logvar).exp() * noise.normal(mean.shape).to(mean.device)

    def _vectors(self, z: Tensor) -> Tensor:
        """A code [B, *code] as the vectors that make tokens, [B, T, C]."""
        return z.flatten(2).mT if len(self.net.code) > 1 else z.view(len(z), -1, len(self.config.quantise))

    def _joined(self, vectors: Tensor) -> Tensor:
        """What ``_vectors`` took apart."""
        return (vectors.mT if len(self.net.code) > 1 else vectors).reshape(len(vectors), *self.net.code)

    def loss(self, batch: Batch, phase: Phase, progress: float, noise: Noise) -> dict[str, Tensor]:
        """What is left to tell, and what the code says at its price: nats a number of the example, [B] each."""
        told = {name: batch.cond[name] for name in ("class", "caption") if name in batch.cond}
        told = apart(thinned(told, noise.fork("thin")), noise.fork("apart"))
        cond = without(told, self.groups, noise.fork("drop").mask((len(batch.x),), DROP))
        if phase.name == "critic" and self.critic is not None:
            with torch.no_grad():
                made = self.net.decode(self._drawn(*self.net.encode(batch.x, cond), noise.fork("code")), cond)
            return self.critic.lesson(batch.x, made.clamp(-1, 1), noise.fork("slope"))
        self.updates += 1
        mean, logvar = self.net.encode(batch.x, cond)
        made = self.net.decode(self._drawn(mean, logvar, noise.fork("code")), cond)
        found = {"left": self.net.nats(made, batch.x, noise) / self.numbers}
        if self.finite is None:
            price = self.config.beta * min(1.0, progress / self.config.anneal if self.config.anneal else 1.0)
            found["said"] = price * divergence(mean, logvar).sum(1) / self.numbers
        if self.critic is not None and progress >= CRITIC:
            found["doubt"] = self.config.adversarial * self.critic.doubt(batch.x, made.clamp(-1, 1))
        return found

    @torch.no_grad()
    def watch(self, batch: Batch, progress: float, noise: Noise) -> Alarm | None:
        """Has the code gone silent? Then the price was too high, or came too early."""
        if int(self.updates) < SEEN or self.finite is not None:
            return None
        said = divergence(*self.net.encode(batch.x, batch.cond)).mean(0)  # [K]
        active = int((said > ACTIVE).sum())
        if float(said.sum()) >= FLOOR and active >= min(2, len(said)):
            return None
        reason = say(
            "The code says nothing: {active} of {n} numbers are used, {nats} nats in all.",
            active=active, n=len(said), nats=round(float(said.sum()), 2),
        )  # fmt: skip
        lower = 1.0 if self.config.beta > 1 else self.config.beta / 10
        return Alarm(reason, {"beta": f"{lower:g}", "anneal": f"{max(0.3, self.config.anneal):g}"})

    def _group(self, cond: Cond, rows: int) -> Tensor:
        """Class of each row; the number of classes where there is none."""
        return cond["class"].cpu() if self.groups and "class" in cond else torch.full((rows,), self.groups)

    @torch.no_grad()
    def calibrate(self, train: Iterable[Batch], held: Iterable[Batch]) -> None:
        """Fit the density on codes drawn from the encoder, as the decoder has met them; count the levels of grids."""
        if isinstance(self.net, Sentence):
            train = gathered(train, self.net.context)
        noise, kept = Noise("density"), list[tuple[Tensor, ...]]()
        for batch in train:
            if isinstance(self.net, Grids):
                self._count(batch, noise)
            kept.append(self._coded(batch, noise))
        mean, z, group = (torch.cat(parts) for parts in zip(*kept, strict=True))
        others = [self._coded(batch, noise) for batch in held]
        _, out, out_group = (torch.cat(parts) for parts in zip(*others, strict=True))
        chooses = torch.arange(len(z)) % TENTH == TENTH - 1
        out, out_group = torch.cat([out, z[chooses]]), torch.cat([out_group, group[chooses]])
        self.density.settle(z[~chooses], group[~chooses], out, out_group, noise.fork("mixture"))
        if isinstance(self.net, Grids):
            self.net.counted()
        means = mean.view(-1, *self.net.code)
        axes = (0, *range(2, means.ndim))  # on a grid every cell is scaled alike
        deviation, middle = torch.std_mean(means, axes, keepdim=True)
        self.scale.keep(mean=middle, deviation=deviation.clamp(min=LEAST_SCALE))

    def _count(self, batch: Batch, noise: Noise) -> None:
        """Show the network what stood where its decoder said something."""
        x, cond = batch.x[::COUNTED], {name: value[::COUNTED] for name, value in batch.cond.items()}
        z = self._drawn(*self.net.encode(x, cond), noise)
        if isinstance(self.net, Grids):
            self.net.count(self.net.decode(z, cond), x)

    def bound(self, batch: Batch) -> Tensor:
        """Log probability in nats of each example itself under its condition: a lower bound. [B]

        The importance-weighted one (Burda et al., 1509.00519) with ``DRAWS`` codes, which are the same every time; of texts,
        which cost more, with one code, which makes it that of 1312.6114.
        """
        mean, logvar = self.net.encode(batch.x, batch.cond)
        noise, group, terms = Noise("bound"), self._group(batch.cond, len(batch.x)), []
        left = self.net.exact if isinstance(self.net, Grids) else self.net.nats
        for _ in range(DRAWS if isinstance(self.net, Grids) else 1):
            eps = noise.normal(mean.shape).to(mean.device)
            z = mean + (0.5 * logvar).exp() * eps
            surprise = -0.5 * (eps.square() + logvar + math.log(2 * math.pi)).flatten(1).sum(1)  # log q(z | x)
            told = left(self.net.decode(z, batch.cond), batch.x)
            terms.append(self.density.log_prob(z.flatten(1), group) - surprise - told)
        return torch.stack(terms).logsumexp(0) - math.log(len(terms))

    def _coded(self, batch: Batch, noise: Noise) -> tuple[Tensor, ...]:
        """Mean [B, K], a drawn code [B, K] and the class [B] of the rows of a batch."""
        mean, logvar = self.net.encode(batch.x, batch.cond)
        z = self._drawn(mean, logvar, noise)
        return (z if self.finite is not None else mean).flatten(1), z.flatten(1), self._group(batch.cond, len(z))

    @property
    def latent(self) -> Spec:
        """A code as a grid: on the coarse cells, or as a row of numbers; quantised, as tokens."""
        if self.finite is not None:
            length = math.prod(self.net.code) // len(self.config.quantise)
            return Spec("tokens", (length,), ("token",), vocab=RESERVED + self.finite.count)
        axes = ("feature",) if len(self.net.code) == 1 else ("channel", *self.target.axes[1:])
        return Spec("grid", self.net.code, axes)

    def encode(self, x: Tensor) -> Tensor:
        """Examples [B, ...] → the means of their codes at unit scale [B, *code], or tokens [B, T] from RESERVED on."""
        if isinstance(self.net, Sentence):
            x = begun(x)
        mean, _ = self.net.encode(x, {})
        if self.finite is not None:
            return RESERVED + self.finite.tokens(self.finite(self._vectors(mean)))
        return ((mean - self.scale.mean) / self.scale.deviation).view(len(x), *self.latent.shape)

    def decode(self, z: Tensor) -> Tensor:
        """Codes in the form of ``latent`` → examples [B, ...]; what is no code counts as the nearest, a word is the likeliest."""
        if self.finite is not None:
            code = self._joined(self.finite.values((z - RESERVED).clamp(0, self.finite.count - 1)))
        else:
            code = z.view(len(z), *self.net.code) * self.scale.deviation + self.scale.mean
        *_, made = self.net.made(self.net.decode(code, {}), {}, Noise("decode", rows=range(len(z))), {"temperature": 0.0})
        return made

    def sample(self, cond: Cond, noise: Noise, knobs: Mapping[str, Any]) -> Iterator[Tensor]:
        """One code a row from the density, and what the decoder makes of it."""
        calm = 1.0 if self.target.kind == "tokens" else CALM
        z = self.density.sample(self._group(cond, noise.rows), noise, calm * float(knobs.get("temperature", 1.0)))
        z = z.view(-1, *self.net.code)
        if self.finite is not None:
            z = self._joined(self.finite.nearest(self._vectors(z)))
        yield from self.net.made(self.net.decode(z, cond), cond, noise.fork("words"), knobs)
