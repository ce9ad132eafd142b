"""Settings of the segmenter."""

from dataclasses import dataclass
from typing import Literal

from fgsn_ros.config import require

BackendName = Literal["auto", "eager", "compile", "onnx"]
_MOST_THREADS = 1024


@dataclass(frozen=True)
class SegmenterSettings:
    """Where, by what, and how finely images are labelled."""

    device: str = "auto"
    """"auto" (a GPU where there is one), "cpu" or "cuda"."""
    stride: int = 4
    """Pixels per label cell: 4 (features interpolated), 8 (the network's own grid) or 16."""
    backend: BackendName = "auto"
    """What runs the network: eager (PyTorch), compile (torch.compile; needs a C++ compiler), onnx
    (ONNX Runtime; CPU only), or auto: onnx on a CPU, eager on a GPU. The labels are the same."""
    threads: int = 0
    """CPU threads of the network, >= 0; 0: as many as PyTorch takes. For eager and compile, those
    of PyTorch in the whole process."""

    def __post_init__(self) -> None:
        require(self.device in ("auto", "cpu", "cuda"), "device must be auto, cpu or cuda")
        require(self.stride in (4, 8, 16), "stride must be 4, 8 or 16")
        known = ("auto", "eager", "compile", "onnx")
        require(self.backend in known, f"backend must be one of {', '.join(known)}")
        require(0 <= self.threads <= _MOST_THREADS, f"threads must be in [0, {_MOST_THREADS}]")
