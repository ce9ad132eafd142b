"""Settings of a training run."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fgsn_ros.config import require


@dataclass(frozen=True)
class TrainSettings:
    """One training run; see `fgsn_ros.training.trainer.train`."""

    data: Path
    """Images with classes (semantic), or a correspondence set: a folder, or a YAML file that
    names the folders of one set or of several."""
    output: Path
    """Folder of checkpoint.safetensors, training_state.pt and tensorboard/."""
    objective: Literal["semantic", "fgsn", "statistics"] = "fgsn"
    """Learn classes, learn clusters, or only count the label statistics of `init`."""
    init: Path | None = None
    """Checkpoint to start from; without it, from scratch."""
    label_count: int = 100
    """Number of clusters K of the fgsn objective; [8, 1000]."""
    iterations: int = 2000
    """Steps of the optimizer; > 0."""
    batch_size: int = 8
    """Crops (semantic) or pairs of crops (fgsn) in a step; > 0."""
    crop_height: int = 320
    """[px], a multiple of 16."""
    crop_width: int = 320
    """[px], a multiple of 16."""
    learning_rate: float = 2e-3
    """Peak rate of AdamW; > 0."""
    weight_decay: float = 0.02
    """Of AdamW; >= 0."""
    scale_min: float = 0.5
    """Smallest random scale of a crop; (0, scale_max]."""
    scale_max: float = 2.0
    """Largest random scale of a crop."""
    short_side_px: int = 0
    """Images are resized to this shorter side as they are read [px]; 0 leaves them; >= 0."""
    flip_share: float = 0.0
    """Share of crops, or of pairs of crops, that are mirrored; [0, 1]."""
    rotation_deg: float = 0.0
    """Largest random rotation of images with classes, either way [deg]; [0, 45]."""
    photometric: bool = True
    """Disturb brightness, contrast, colour and sharpness of the crops."""
    road_marking: bool = False
    """Learn Mapillary Vistas' lane markings as a class of their own; else they are road."""
    coarse: bool = False
    """Learn Cityscapes' coarse annotations too."""
    grey_share: float = 0.0
    """Share of crops made grey, for use on grey cameras; [0, 1]."""
    freeze_batch_norm: bool = True
    """Keep the batch statistics of `init` in fgsn training (from scratch they are learnt)."""
    recluster_every: int = 500
    """Steps between clusterings; > 0."""
    features_per_image: int = 500
    """Features that a reference image gives to the clustering; > 0."""
    pca_dimensions: int = 64
    """Whitened dimensions that are clustered; [2, 128]."""
    validate_every: int = 250
    """Steps between validations and written checkpoints; > 0."""
    cache_mb: int = 2000
    """Memory for decoded images [MB]; >= 0."""
    threads: int = 0
    """CPU threads; 0 leaves PyTorch's choice."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """"auto" takes a GPU where there is one."""
    seed: int = 0
    """Same seed, same result on a CPU with as many threads; >= 0."""
    resume: bool = False
    """Continue from the state in `output`."""
    half: bool = False
    """Write the weights as float16."""

    def __post_init__(self) -> None:
        require(self.objective in ("semantic", "fgsn", "statistics"), "unknown objective")
        require(8 <= self.label_count <= 1000, "label_count must be in [8, 1000]")
        counts = ("iterations", "batch_size", "recluster_every", "features_per_image")
        for name in (*counts, "validate_every"):
            require(getattr(self, name) > 0, f"{name} must be positive")
        for name in ("crop_height", "crop_width"):
            value = getattr(self, name)
            require(value > 0 and value % 16 == 0, f"{name} must be a positive multiple of 16")
        require(self.learning_rate > 0.0, "learning_rate must be positive")
        require(self.weight_decay >= 0.0, "weight_decay must not be negative")
        require(0.0 < self.scale_min <= self.scale_max, "scales must be positive and ordered")
        require(0.0 <= self.grey_share <= 1.0, "grey_share must be in [0, 1]")
        require(self.short_side_px >= 0, "short_side_px must not be negative")
        require(0.0 <= self.flip_share <= 1.0, "flip_share must be in [0, 1]")
        require(0.0 <= self.rotation_deg <= 45.0, "rotation_deg must be in [0, 45]")
        require(2 <= self.pca_dimensions <= 128, "pca_dimensions must be in [2, 128]")
        require(min(self.cache_mb, self.threads, self.seed) >= 0, "cache_mb, threads, seed >= 0")
        require(self.objective != "statistics" or self.init is not None, "statistics need init")

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that the run writes."""
        return self.output / "checkpoint.safetensors"

    @property
    def state(self) -> Path:
        """What is needed, beside the settings, to continue the run."""
        return self.output / "training_state.pt"

    def described(self) -> dict[str, Any]:
        """The settings as JSON values, for the checkpoint; paths by name alone."""
        values = dataclasses.asdict(self)
        return {k: v.name if isinstance(v, Path) else v for k, v in values.items()}
