"""A small network with a bit of everything, for tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SmallNetwork(nn.Module):
    """conv, norm, relu, lstm, gelu, linear. `[batch, 3, time]` to `[batch, time, 4]`."""

    def __init__(self, approximate: str = "none", eps: float = 1e-5) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 8, 5, padding=2)
        self.bn = nn.BatchNorm1d(8, eps=eps)
        self.relu = nn.ReLU()
        self.lstm = nn.LSTM(8, 6, batch_first=True)
        self.gelu = nn.GELU(approximate)
        self.head = nn.Linear(6, 4)
        generator = torch.Generator().manual_seed(0)
        for weight in self.parameters():
            weight.data.uniform_(-0.7, 0.7, generator=generator)
        self.bn.running_mean.uniform_(-1, 1, generator=generator)
        self.bn.running_var.uniform_(0.1, 2, generator=generator)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.conv(x)))
        x, _ = self.lstm(x.transpose(1, 2))
        return self.head(self.gelu(x))


def network() -> SmallNetwork:
    """The right one."""
    return SmallNetwork()


def tanh_port() -> SmallNetwork:
    """A port whose GELU is the approximation by tanh."""
    return SmallNetwork(approximate="tanh")


def inputs(seed: int = 0) -> Tensor:
    """Random values, `[2, 3, 40]`."""
    return torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(seed))
