"""Muon for weight matrices and AdamW for the rest, in one optimiser whose updates are batched over equal shapes.

Muon (Jordan 2024) moves a matrix along the nearest orthogonal matrix to its momentum, found by a few Newton-Schulz steps with the
coefficients of Polar Express (Amsel et al., 2505.16932); decay is cautious (Chen et al., 2510.12402): it acts only where it agrees
with the step. AdamW is Loshchilov & Hutter, 1711.05101. It does not know schedules, clipping policy or mixed precision: the
caller passes `lr_scale` and clips gradients first. One Newton-Schulz costs about 30 d^3 per matrix, so it pays when a step sees
at least 40 d tokens or pixels.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
TABLE = re.compile(r"(^|[._])(embed|embedding|head)s?([._]|$)")


def mark(module: nn.Module, *, optim: str = "adamw", lr: float = 1.0) -> None:
    """Set the rule of a module's own parameters: which optimiser moves them, and a factor on its learning rate.

    Unmarked, a parameter of two or more axes goes to Muon unless a part of its name is `embed`, `embedding` or `head`.
    """
    for param in module.parameters(recurse=False):
        for key, value in (("optim", optim), ("lr", lr)):
            setattr(param, key, value)


@torch.no_grad()
def clip(params: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scale the gradients so that their joint norm is at most `max_norm`; return the norm before, a tensor of shape []."""
    grads = [p.grad for p in params if p.grad is not None]
    if not grads:
        return torch.zeros(())
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    torch._foreach_mul_(grads, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def orthogonalise(x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Nearest (semi-)orthogonal matrices to a batch `x` [N, A, B] with A <= B, to about one percent."""
    y = x.to(dtype)
    y = y / (y.norm(dim=(1, 2), keepdim=True) * 1.02 + 1e-6)
    for a, b, c in POLAR_EXPRESS:
        gram = y @ y.mT  # [N, A, A]
        y = torch.baddbmm(y, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), y, beta=a)
    return y.to(x.dtype)


def _wide(x: Tensor, like: nn.Parameter) -> Tensor:
    """See `x`, shaped as the parameter `like`, as a matrix [A, B] with A <= B, without copying if it is laid out as `like`."""
    if like.ndim > 3 and not like.is_contiguous():  # channels_last; Muon does not mind the order of columns
        x = x.movedim(1, -1)
    x = x.reshape(x.shape[0], -1)
    return x if x.shape[0] <= x.shape[1] else x.mT


@dataclass
class _Stack:
    """Muon's parameters of one shape, wide side last, with their momentum as one tensor."""

    names: list[str]
    params: list[nn.Parameter]
    momentum: Tensor  # [N, A, B]
    lr: Tensor  # [N, 1, 1]


@dataclass
class _Flat:
    """AdamW's parameters that share one learning rate and decay."""

    names: list[str]
    params: list[nn.Parameter]
    first: list[Tensor]
    second: list[Tensor]
    lr: float
    decay: float


class Optimiser:
    """Muon (`kind="muon"`) or AdamW alone (`kind="adamw"`); `mark` and the name rule decide who moves a parameter.

    `lr` is the rate of the matrices; under Muon everything else moves by AdamW at `lr * side`. Decay acts on matrices only.
    A parameter without a gradient counts as one whose gradient is zero.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        kind: str = "muon",
        lr: float = 0.02,
        weight_decay: float = 0.0,
        *,
        side: float = 0.15,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-10,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Sort the parameters; `dtype` is that of the Newton-Schulz products (bf16 where the machine is fast at it)."""
        self.lr, self.weight_decay, self.momentum = lr, weight_decay, momentum
        self.betas, self.eps, self.dtype = betas, eps, dtype
        stacks: dict[tuple[int, int], list[tuple[str, nn.Parameter]]] = defaultdict(list)
        flats: dict[tuple[float, float], list[tuple[str, nn.Parameter]]] = defaultdict(list)
        for name, param in named:
            matrix = param.ndim >= 2 and not TABLE.search(name)
            if kind == "muon" and getattr(param, "optim", "muon" if matrix else "adamw") == "muon":
                rows, columns = param.shape[0], param[0].numel()
                stacks[min(rows, columns), max(rows, columns)].append((name, param))
            else:
                rate = getattr(param, "lr", 1.0) * (side if kind == "muon" else 1.0)
                flats[rate, weight_decay if kind == "adamw" and matrix else 0.0].append((name, param))
        devices = {group[0][1].device for group in (*stacks.values(), *flats.values())}
        self.count = torch.zeros((), dtype=torch.float32, device=devices.pop() if len(devices) == 1 else "cpu")
        self._stacks = [self._stack(group) for group in stacks.values()]
        self._flats = [self._flat(group, *key) for key, group in flats.items()]

    @staticmethod
    def _stack(group: Sequence[tuple[str, nn.Parameter]]) -> _Stack:
        names, params = [n for n, _ in group], [p for _, p in group]
        tall = [max(1.0, p.shape[0] ** 2 / p.numel()) ** 0.5 for p in params]
        rates = [getattr(p, "lr", 1.0) * t for p, t in zip(params, tall, strict=True)]
        momentum = torch.stack([torch.zeros_like(_wide(p.detach(), p)) for p in params])
        return _Stack(names, params, momentum, torch.tensor(rates, device=momentum.device).view(-1, 1, 1))

    @staticmethod
    def _flat(group: Sequence[tuple[str, nn.Parameter]], lr: float, decay: float) -> _Flat:
        params = [p for _, p in group]
        first, second = ([torch.zeros_like(p, memory_format=torch.contiguous_format) for p in params] for _ in range(2))
        return _Flat([n for n, _ in group], params, first, second, lr, decay)

    @torch.no_grad()
    def step(self, lr_scale: float = 1.0) -> None:
        """Move every parameter once, at the base rates times `lr_scale`."""
        self.count += 1
        for stack in self._stacks:
            self._muon(stack, self.lr * lr_scale)
        for flat in self._flats:
            self._adamw(flat, self.lr * lr_scale)

    def _muon(self, stack: _Stack, lr: float) -> None:
        weights = [_wide(p.detach(), p) for p in stack.params]  # views: writing to them moves the parameters
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in stack.params]
        grad = torch.stack([_wide(g, p) for g, p in zip(grads, stack.params, strict=True)])  # [N, A, B]
        stack.momentum.lerp_(grad, 1 - self.momentum)
        update = orthogonalise(grad.lerp_(stack.momentum, self.momentum), self.dtype)  # Nesterov's look ahead
        if self.weight_decay:
            weight = torch.stack(weights)
            update.addcmul_(weight, (update * weight > 0).to(weight.dtype), value=self.weight_decay)
        update.mul_(stack.lr * lr)
        torch._foreach_sub_(weights, list(update.unbind()))

    def _adamw(self, flat: _Flat, lr: float) -> None:
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in flat.params]
        torch._fused_adamw_(
            list[Tensor](flat.params),
            grads,
            flat.first,
            flat.second,
            [],
            [self.count] * len(grads),
            lr=lr * flat.lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=flat.decay,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    def zero_grad(self) -> None:
        """Forget all gradients."""
        params = [p for stack in self._stacks for p in stack.params] + [p for flat in self._flats for p in flat.params]
        for param in params:
            param.grad = None

    def _tensors(self) -> dict[str, Tensor]:
        """Name every state tensor; views into the live state."""
        found = {"count": self.count}
        for stack in self._stacks:
            found |= {f"{name}.momentum": row for name, row in zip(stack.names, stack.momentum, strict=True)}
        for flat in self._flats:
            found |= {f"{name}.first": m for name, m in zip(flat.names, flat.first, strict=True)}
            found |= {f"{name}.second": m for name, m in zip(flat.names, flat.second, strict=True)}
        return found

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on bit for bit: float32 tensors by flat name."""
        return {name: tensor.clone() for name, tensor in self._tensors().items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state that `state()` gave for the same parameters."""
        for name, tensor in self._tensors().items():
            tensor.copy_(state[name])
