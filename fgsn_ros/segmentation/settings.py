"""Settings of the segmenter."""

from dataclasses import dataclass

from fgsn_ros.config import require


@dataclass(frozen=True)
class SegmenterSettings:
    """Where and how finely images are labelled."""

    device: str = "auto"
    """"auto" (a GPU where there is one), "cpu" or "cuda"."""
    stride: int = 4
    """Pixels per label cell: 4 (features interpolated), 8 (the network's own grid) or 16."""

    def __post_init__(self) -> None:
        require(self.device in ("auto", "cpu", "cuda"), "device must be auto, cpu or cuda")
        require(self.stride in (4, 8, 16), "stride must be 4, 8 or 16")
