"""Real handwriting for the tests that judge: scikit-learn's digits, shuffled once."""

import pytest
import torch
from sklearn.datasets import load_digits

from mintage.nn.noise import Noise


@pytest.fixture(scope="session")
def digits():
    """Pictures [1797, 1, 8, 8] in −1…1 and their classes [1797]."""
    data = load_digits()
    order = Noise("digits").permutation(len(data.target))
    x, y = torch.from_numpy(data.images / 8 - 1).float()[:, None], torch.from_numpy(data.target).long()
    return x[order], y[order]
