"""Where the particles are: NumPy arrays on the CPU, or tensors on a GPU.

The filter follows its random numbers: states drawn as tensors stay tensors, on their device. They
are float32 there, which resolves 0.06 mm a kilometre from the map's origin, as the map's own points
are; weights are float64.

The filter on a GPU is not yet measured on one; tensors on the CPU give NumPy's estimates.
"""

import importlib.util
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from fgsn_ros.errors import LocalizationError
from fgsn_ros.localization.motion import Random

DeviceName = Literal["cpu", "cuda", "auto"]

_log = logging.getLogger(__name__)


def available(name: DeviceName) -> Literal["cpu", "cuda"]:
    """The device meant by a setting.

    Raises:
        LocalizationError: "cuda" where it cannot be used.
    """
    if name == "cpu":
        return "cpu"
    missing = _missing_for_cuda()
    if missing is None:
        return "cuda"
    if name == "cuda":
        raise LocalizationError(f"device 'cuda': {missing}; set device to 'cpu' or 'auto'")
    _log.info("device 'auto': the particles stay on the CPU, as %s", missing)
    return "cpu"


def random_numbers(device: Literal["cpu", "cuda"], generator: np.random.Generator) -> Random:
    """Random numbers on a device: the generator itself, or one there that it seeds."""
    if device == "cpu":
        return generator
    return TensorRandom(device, int(generator.integers(2**63)))


def wait(device: Literal["cpu", "cuda"]) -> None:
    """Return when a device has done what it was asked to, so that its time can be taken."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


class StepTimes:
    """Time spent, by step."""

    def __init__(self, finish: Callable[[], None] = lambda: None) -> None:
        """`finish` waits for what a step has begun elsewhere, as on a GPU."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """[s]."""
        self._finish = finish

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the time of a `with` block to a step's."""
        start = time.perf_counter()
        yield
        self._finish()
        self.seconds[step] += time.perf_counter() - start


class TensorRandom:
    """Draws tensors on a device."""

    def __init__(self, device: str, seed: int) -> None:
        import torch

        self._torch = torch
        self._generator = torch.Generator(device).manual_seed(seed)

    def standard_normal(self, size: tuple[int, ...]) -> Any:
        """Normal numbers of mean 0 and variance 1, float32."""
        return self._torch.randn(size, generator=self._generator, device=self._generator.device)

    def random(self) -> Any:
        """A number in [0, 1), float64, that stays on the device."""
        return self._torch.rand(
            (),
            generator=self._generator,
            device=self._generator.device,
            dtype=self._torch.float64,
        )


def _missing_for_cuda() -> str | None:
    """What keeps the filter from the GPU; None if nothing does."""
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed (`pip install 'fgsn_ros[torch]'`)"
    import torch

    if not torch.cuda.is_available():
        return "PyTorch finds no CUDA device (see `nvidia-smi`, and torch.version.cuda)"
    if importlib.util.find_spec("triton") is None:
        return "its kernel needs the package triton (`pip install triton`)"
    return None
