"""denoising-diffusion-pytorch on MNIST under a clock: the peer of the picture table.

Run: python benchmarks/peer_ddpm.py MNIST_FOLDER --minutes 10 --n 1000 --out ddpm.npz
The package is installed by hand without its dependencies (its torchvision does not load beside a CPU torch; training
from tensors needs neither that nor pytorch-fid, so empty stand-ins are given). Unconditional, its own defaults
(lr 8e-5, EMA .995), Unet dim 32 with multipliers 1, 2, 4, 1,000 training steps of noise, DDIM-100 sampling.
"""

import argparse
import sys
import time
from unittest.mock import MagicMock

import numpy as np
import torch
from pictures import read_idx


def peer():
    for name in ("torchvision", "torchvision.transforms", "torchvision.utils", "pytorch_fid", "pytorch_fid.inception",
                 "pytorch_fid.fid_score", "accelerate"):  # fmt: skip
        if name not in sys.modules:
            stand_in = MagicMock()
            stand_in.__spec__, stand_in.__path__ = None, []  # torch's own look at loaded modules wants both
            sys.modules[name] = stand_in
    import denoising_diffusion_pytorch as package

    return package


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--out", default="ddpm.npz")
    args = parser.parse_args()
    torch.manual_seed(0)
    package = peer()
    pictures, _ = read_idx(args.folder, "train")
    x = torch.nn.functional.pad(torch.from_numpy(pictures).float().div(255)[:, None], (2, 2, 2, 2))
    net = package.Unet(dim=32, dim_mults=(1, 2, 4), channels=1)
    diffusion = package.GaussianDiffusion(net, image_size=32, timesteps=1000, sampling_timesteps=100)
    average = {k: v.clone() for k, v in net.state_dict().items()}
    optimiser = torch.optim.Adam(net.parameters(), lr=8e-5, betas=(0.9, 0.99))
    begin, step = time.perf_counter(), 0
    while time.perf_counter() - begin < args.minutes * 60:
        loss = diffusion(x[torch.randint(len(x), (32,))])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        for name, value in net.state_dict().items():
            average[name].lerp_(value, 0.005) if value.is_floating_point() else average[name].copy_(value)
        step += 1
    trained = time.perf_counter() - begin
    net.load_state_dict(average)
    begin, made = time.perf_counter(), []
    while sum(map(len, made)) < args.n:
        made.append(diffusion.sample(batch_size=100)[:, 0, 2:-2, 2:-2].numpy())
    seconds = time.perf_counter() - begin
    made = np.concatenate(made)[: args.n]
    np.savez_compressed(args.out, made=(made * 255).round().astype(np.uint8))
    print(f"{step} steps in {trained:.0f} s, {1000 * seconds / args.n:.1f} ms a sample")


if __name__ == "__main__":
    main()
