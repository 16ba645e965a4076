"""The style-based generator: a mapping network, convolutions that styles modulate, and noise at every layer.

StyleGAN2 (Karras et al., 1912.04958): the code is mapped to a style vector w, each layer scales its input channels by an
affine view of w and is demodulated, so that layers can take their styles from different codes (style mixing) and w can
be pulled towards its mean (truncation). Modulation acts on activations and demodulation on outputs, which is the same
arithmetic as on the weights but leaves one shared convolution for the batch. It works on pictures
alone, and does not know objectives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mintage.nn.axes import Ladder, near, scatter, stored_last
from mintage.nn.mlp import Mlp
from mintage.nn.noise import Noise
from mintage.nn.optim import mark
from mintage.nn.residual import begin, leaky, quiet, rails


class Modulated(nn.Module):
    """A 3 × 3 convolution under a style, with noise and bias; ``up`` doubles the resolution first."""

    def __init__(self, inputs: int, outputs: int, style: int, up: bool = False) -> None:
        """``style`` numbers of w."""
        super().__init__()
        self.up = up
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.strength = nn.Parameter(torch.zeros(()))
        self.affine = nn.Linear(style, inputs)
        nn.init.kaiming_normal_(self.weight, 0.2)
        nn.init.normal_(self.affine.weight, 0, style**-0.5)
        nn.init.ones_(self.affine.bias)

    def forward(self, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
        """[B, I, H, W], [B, S] → [B, O, H, W] or twice that size"""
        scale = self.affine(w).float()  # [B, I]
        power = self.weight.float().square().sum((2, 3))  # [O, I]
        demodulate = torch.rsqrt(scale.square() @ power.T + 1e-6) * math.sqrt(2)  # [B, O]
        x = x * scale[:, :, None, None].to(x.dtype)
        x = F.interpolate(x, scale_factor=2, mode="nearest") if self.up else x
        x = F.conv2d(x, self.weight, padding=1)
        grain = noise.normal((len(x), 1, *x.shape[2:])).to(x.device, x.dtype) * self.strength.to(x.dtype)
        x = torch.addcmul(grain, x, demodulate[:, :, None, None].to(x.dtype))
        return leaky(x + self.bias.to(x.dtype).view(1, -1, 1, 1))


class StyleGenerator(nn.Module):
    """Mapping and synthesis; ``layers`` styles from coarse to fine."""

    def __init__(self, shape: Sequence[int], latent: int, given: int, width: int) -> None:
        """``width`` channels at the finest level, twice as many at each coarser one up to four times."""
        super().__init__()
        channels, *size = shape
        self.ladder = Ladder.down_to(size, 4)
        widths = [width * min(4, 2**i) for i in reversed(range(self.ladder.levels))]
        style = 4 * width
        self.mapping = Mlp([latent + given, style, style])
        self.start = nn.Parameter(torch.empty(1, widths[0], *self.ladder.grid))
        nn.init.normal_(self.start)
        pairs = [(widths[max(0, i - 1)], w, i > 0) for i, w in enumerate(widths)]
        self.convs = nn.ModuleList(conv for a, w, up in pairs for conv in (Modulated(a, w, style, up), Modulated(w, w, style)))
        for layer in self.mapping.layers:
            mark(layer, lr=0.1)  # every layer follows what this one does, so it goes slowly (Karras et al., 1812.04948)
        self.leave = near(len(size), width, channels * math.prod(self.ladder.factors[0]))
        begin(self.leave)
        quiet(self.leave)
        stored_last(self, len(size))

    @property
    def layers(self) -> int:
        """Number of layers that take a style."""
        return len(self.convs)

    def style(self, z: Tensor, given: Tensor) -> Tensor:
        """[B, L], [B, E] → w [B, S]"""
        z = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        return leaky(self.mapping(torch.cat([z, given], 1)))

    def draw(self, styles: Sequence[Tensor], noise: Noise) -> Tensor:
        """One w [B, S] a layer → [B, C, H, W]"""
        x = self.start.expand(len(styles[0]), -1, -1, -1)
        for i, (conv, w) in enumerate(zip(self.convs, styles, strict=True)):
            x = conv(x, w, noise.fork("layer", i))
        return self.ladder.crop(rails(scatter(self.leave(x), self.ladder.factors[0]).float()))

    def forward(self, z: Tensor, given: Tensor, noise: Noise) -> Tensor:
        """[B, L], [B, E] → [B, C, H, W]"""
        return self.draw([self.style(z, given)] * self.layers, noise)
