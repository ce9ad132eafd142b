"""A NumPy generator's numbers as tensors: the filter on tensors against the filter on arrays."""

import torch


class SameNumbers:
    """Draws what a NumPy generator draws, as tensors on the CPU."""

    def __init__(self, generator, dtype=torch.float64):
        self._generator = generator
        self._dtype = dtype

    def standard_normal(self, size):
        return torch.from_numpy(self._generator.standard_normal(tuple(size))).to(self._dtype)

    def random(self):
        return self._generator.random()
