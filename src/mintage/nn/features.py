"""Feature spaces that judge a generator, made from the person's own data: a small network, and a view without weights.

No outside weights are used. For grids, view 1 is a small convolutional network trained for a fixed number of steps on
the train split with two heads: what the item is (its class, or without classes the cluster it falls into, Caron et al.
2018) and how it was damaged (blurred, grained, shuffled, smeared, or not at all), so that it sees both content and
craft. View 2 is random convolutions and coarse pixels behind a PCA (Naeem et al. 2020 judge with random networks).
For tokens, view 1 is hashed n-grams weighted by TF-IDF behind a PCA, and view 2 lengths, repetition and frequencies.
For the columns of a row, view 1 is what stands in each of them and view 2 what stands in pairs of them (``nn.pairs``).
Everything is drawn from one seed and named by ``VERSION``; numbers are comparable only within one data set and one
version. It does not know what people see: a flaw that neither view can tell is not counted.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mintage.core.spec import RESERVED, Spec
from mintage.nn.noise import Noise
from mintage.nn.pairs import Cells
from mintage.nn.principal import principal
from mintage.nn.settled import Settled

VERSION = 2
STEPS = 300
BATCH = 96
ITEMS = 8_000  # train items looked at; more do not change the features
SIDE = 32  # longest side that the network sees
DIM = 64
DAMAGES = 5
CLUSTERS = 24
BUCKETS = 1 << 12  # hashed n-grams
DOCUMENTS = 3_000  # the same for tokens, whose counts are wide
CHUNK = 500


def as_float(x: Tensor) -> Tensor:
    """Storage form (bytes) or model form → floats in −1…1."""
    return x.float().div(127.5).sub(1) if x.dtype == torch.uint8 else x.float()


def picture(x: Tensor, side: int = SIDE) -> Tensor:
    """A grid as [B, C, H, W] with the longest side at most ``side``; leading axes beyond two become channels."""
    x = as_float(x)
    x = x.flatten(1, -3) if x.ndim >= 4 else x.flatten(1)[:, None, None] if x.ndim == 2 else x[:, None]
    longest = max(x.shape[-2:])
    if longest <= side:
        return x
    size = [max(1, round(length * side / longest)) for length in x.shape[-2:]]
    return F.interpolate(x, size=size, mode="area")


def outline(x: Tensor, side: int = 16) -> Tensor:
    """Coarse content as plain numbers: where copies are searched, indifferent to grain. Returns [B, K]."""
    return torch.cat([picture(part, side).flatten(1) for part in torch.split(x, CHUNK)])


def damage(x: Tensor, kind: Tensor, noise: Noise) -> Tensor:
    """Item b of x [B, C, H, W] damaged in way ``kind[b]``: 0 not, 1 blurred, 2 grained, 3 shuffled, 4 mixed."""
    height, width = x.shape[-2:]
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    grained = x + 0.25 * noise.normal(x.shape)
    rolled = torch.cat([x[..., height // 2 :, :], x[..., : height // 2, :]], -2)
    shuffled = torch.cat([x[..., : width // 2], rolled[..., width // 2 :]], -1)
    mixed = 0.6 * x + 0.4 * x.roll(1, 0)
    ways = torch.stack([x, blurred, grained, shuffled, mixed], 1)  # [B, 5, C, H, W]
    return ways[torch.arange(len(x)), kind]


class Net(nn.Module):
    """Three stages of convolutions over at most 16 × 16 places, then the feature layer and two heads.

    The features see where things are (means of the four quarters) and how lively each channel is (its deviation), for
    craft shows in textures that a mean forgets.
    """

    def __init__(self, channels: int, size: tuple[int, int], classes: int, width: int = 32) -> None:
        """``size`` is the height and width it will see; long sides are halved by the first layer."""
        super().__init__()
        stride = 2 if max(size) > 16 else 1
        self.convs = nn.ModuleList(
            (
                nn.Conv2d(channels, width, 1 + 2 * stride, stride, padding=stride),
                nn.Conv2d(width, 2 * width, 3, padding=1),
                nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            )
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in (width, 2 * width, 2 * width))
        self.hidden = nn.Linear(2 * width * 5, DIM)
        self.what, self.how = nn.Linear(DIM, classes), nn.Linear(DIM, DAMAGES)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures [B, C, H, W] → features [B, DIM]."""
        x = x.to(memory_format=torch.channels_last)
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.relu(norm(conv(x)))
            if i < 2 and min(x.shape[-2:]) >= 8:
                x = F.max_pool2d(x, 2)
        lively = x.var((2, 3), correction=0).add(1e-6).sqrt()
        return F.relu(self.hidden(torch.cat([F.adaptive_avg_pool2d(x, 2).flatten(1), lively], 1)))


def clusters(x: Tensor, k: int, noise: Noise, rounds: int = 12) -> Tensor:
    """k-means labels of the rows of ``x`` [N, D], seeded; int64 [N]."""
    centres = x[noise.permutation(len(x))[:k]]
    for _ in range(rounds):
        label = torch.cdist(x, centres).argmin(1)
        counts = torch.zeros(len(centres)).index_add_(0, label, torch.ones(len(x)))
        sums = torch.zeros_like(centres).index_add_(0, label, x)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centres)
    return torch.cdist(x, centres).argmin(1)


class Plain(Settled):
    """View 2 of grids: coarse pixels beside pooled random convolutions at two sizes, behind a PCA."""

    filters: Tensor  # [K, C, 3, 3]
    mean: Tensor
    axes: Tensor

    def settle(self, train: Tensor, noise: Noise) -> None:
        """Draw the filters and find the axes."""
        filters = noise.fork("filters").normal((16, picture(train[:1]).shape[1], 3, 3))
        self.keep(filters=filters - filters.mean((2, 3), keepdim=True))
        mean, axes = principal(torch.cat([self._raw(x) for x in torch.split(train, CHUNK)]), DIM, noise.fork("axes"))
        self.keep(mean=mean, axes=axes)

    def _raw(self, x: Tensor) -> Tensor:
        x = picture(x)
        coarse = F.adaptive_avg_pool2d(x, 8).flatten(1)
        parts = [coarse / coarse.shape[1] ** 0.5]
        for layer in (x, F.avg_pool2d(x, 2, ceil_mode=True)):
            answer = F.conv2d(layer, self.filters, padding=1).relu()
            pooled = F.adaptive_avg_pool2d(answer, 4).flatten(1)
            parts.append(pooled / pooled.shape[1] ** 0.5)
        return torch.cat(parts, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Content [B, ...] → [B, DIM]."""
        return (self._raw(x) - self.mean) @ self.axes


class Terms(Settled):
    """Tokens as documents: hashed n-grams of the given lengths, weighted by TF-IDF, behind a PCA."""

    idf: Tensor  # [BUCKETS]
    mean: Tensor
    axes: Tensor

    def __init__(self, lengths: tuple[int, ...], manner: bool) -> None:
        """``manner`` adds length, repetition and variety of the ids."""
        super().__init__()
        self.lengths, self.manner = lengths, manner

    def settle(self, train: Tensor, noise: Noise) -> None:
        """Weigh the terms by how few documents hold them, and find the axes."""
        counts = torch.cat([self._counts(x) for x in torch.split(train, CHUNK)])
        self.keep(idf=(len(counts) / (1 + (counts > 0).sum(0))).log().clamp(min=0.1))
        raw = torch.cat([self._raw(x) for x in torch.split(train, CHUNK)])
        mean, axes = principal(raw, DIM, noise.fork("axes"))
        self.keep(mean=mean, axes=axes)

    def _counts(self, x: Tensor) -> Tensor:
        counts = torch.zeros(len(x), BUCKETS)
        for n in self.lengths:
            grams = x.long().unfold(1, n, 1) if x.shape[1] >= n else x.new_zeros((len(x), 0, n)).long()  # [B, T', n]
            code = torch.zeros(grams.shape[:2], dtype=torch.int64)
            for i in range(n):
                code = (code * 1_000_003 + grams[..., i] + 7 * n) % 2_147_483_647
            counts.scatter_add_(1, code % BUCKETS, (grams >= RESERVED).all(-1).float())
        return counts

    def _raw(self, x: Tensor) -> Tensor:
        weighed = F.normalize(self._counts(x).log1p() * self.idf, dim=1)
        return torch.cat([weighed, manner(x)], 1) if self.manner else weighed

    def forward(self, x: Tensor) -> Tensor:
        """Ids [B, T] → [B, DIM]."""
        return (self._raw(x) - self.mean) @ self.axes


def manner(x: Tensor) -> Tensor:
    """How documents run: length, and the shares of different ids, of immediate repeats, of repeated pairs: [B, 4]."""
    used = x >= RESERVED
    length = used.sum(1).clamp(min=1)
    ordered = torch.where(used, x.long(), -1).sort(1).values
    different = ((ordered[:, 1:] != ordered[:, :-1]) & (ordered[:, 1:] >= 0)).sum(1) + 1
    pairs = torch.where(used[:, 1:] & used[:, :-1], x[:, :-1].long() * 1_000_003 + x[:, 1:], -1).sort(1).values
    twice = ((pairs[:, 1:] == pairs[:, :-1]) & (pairs[:, 1:] >= 0)).sum(1)
    runs = ((x[:, 1:] == x[:, :-1]) & used[:, 1:]).sum(1)
    shares = torch.stack([different / length, runs / length, twice / length], 1)
    return torch.cat([length.float().log1p()[:, None] / 8, shares], 1)


class Features(nn.Module):
    """Content [N, ...] → float32 features [N, D], of zero mean and unit variance on average over the train split.

    ``fit`` makes it; ``Features(target, classes)`` with ``load_state_dict`` brings it back.
    """

    def __init__(self, target: Spec, classes: int = 0) -> None:
        """``classes`` of 0 trains on clusters instead."""
        super().__init__()
        self.target, self.classes = target, classes
        self.first: nn.Module
        self.second: Plain | Terms | Cells
        if target.kind == "grid":
            probe = picture(torch.zeros((1, *target.shape)))
            self.first = Net(probe.shape[1], (probe.shape[2], probe.shape[3]), classes or CLUSTERS)
            self.second = Plain()
        elif target.slots:
            self.first, self.second = Cells(target.slots, pairs=False), Cells(target.slots, pairs=True)
        else:
            self.first, self.second = Terms((1, 2, 3, 4), manner=False), Terms((1,), manner=True)
        self.norms = Settled()

    @classmethod
    def fit(cls, target: Spec, train: Tensor, labels: Tensor | None, classes: int, noise: Noise, *, bf16: bool = False) -> Features:
        """Learn both views from the train split.

        Args:
            target: Spec of the content.
            train: Storage or model form. [N, ...]
            labels: Class of each item [N], or None; one outside 0 … classes − 1 is unknown.
            classes: Number of classes; 0 without labels.
            noise: All randomness of the recipe.
            bf16: Train under bfloat16 autocast, where that is faster.
        """
        rows = noise.fork("items").permutation(len(train))[: ITEMS if target.kind == "grid" else DOCUMENTS]
        train, labels = train[rows], None if labels is None else labels[rows].long()
        with noise.fork("weights").seeded():
            made = cls(target, 0 if labels is None else classes)
        with torch.no_grad():
            made.second.settle(train, noise.fork("second"))
            if isinstance(made.first, (Terms, Cells)):
                made.first.settle(train, noise.fork("first"))
        if isinstance(made.first, Net):
            if labels is None:
                labels = clusters(made._raw(train, 2), CLUSTERS, noise.fork("clusters"))
            teach(made.first, picture(train), labels, noise.fork("steps"), bf16)
        raw = [made._raw(train, view) for view in (1, 2)]
        made.norms.keep(**{f"mean{view}": r.mean(0) for view, r in enumerate(raw, 1)})
        made.norms.keep(**{f"scale{view}": r.var(0, correction=0).mean().sqrt().clamp(min=1e-6) for view, r in enumerate(raw, 1)})
        return made.eval()

    @torch.no_grad()
    def _raw(self, x: Tensor, view: int) -> Tensor:
        net = self.first if view == 1 else self.second
        return torch.cat([net(picture(part) if isinstance(net, Net) else part) for part in torch.split(x, CHUNK)])

    def forward(self, x: Tensor, view: int = 1) -> Tensor:
        """Content in storage or model form [N, ...] → features [N, D]."""
        mean: Tensor = getattr(self.norms, f"mean{view}")
        scale: Tensor = getattr(self.norms, f"scale{view}")
        return (self._raw(x, view) - mean) / scale

    @torch.no_grad()
    def read(self, x: Tensor) -> Tensor:
        """What the network takes each item for: log probabilities [N, classes]."""
        if not isinstance(self.first, Net) or not self.classes:
            raise ValueError("These features were learned without classes.")
        logits: Tensor = self.first.what(self._raw(x, 1))
        return logits.log_softmax(1)


def teach(net: Net, x: Tensor, labels: Tensor, noise: Noise, bf16: bool) -> None:
    """A fixed number of steps on both heads, with small shifts; the damaged items teach only the second head."""
    optim = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.02)
    rate = torch.optim.lr_scheduler.OneCycleLR(optim, 4e-3, total_steps=STEPS)
    reach = max(1, max(x.shape[-2:]) // 10)
    x = x.to(memory_format=torch.channels_last)
    for _ in range(STEPS):
        rows = noise.integers(0, len(x), (BATCH,))
        down, right = noise.integers(-reach, reach + 1, (2,)).tolist()
        kind = (noise.integers(0, 2 * DAMAGES, (BATCH,)) - DAMAGES).clamp(min=0)  # half of the batch stays whole
        seen = damage(x[rows].roll((down, right), (2, 3)), kind, noise)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            hidden = net(seen)
            what, how = net.what(hidden), net.how(hidden)
        asked = labels[rows]
        whole = ((kind == 0) & (asked >= 0) & (asked < net.what.out_features)).float()
        asked = asked.clamp(0, net.what.out_features - 1)
        content = F.cross_entropy(what.float(), asked, label_smoothing=0.05, reduction="none")
        loss = (content * whole).sum() / whole.sum().clamp(min=1) + 0.5 * F.cross_entropy(how.float(), kind)
        optim.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optim.step()
        rate.step()
    net.eval()
