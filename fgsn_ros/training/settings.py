"""Settings of a training run; the defaults are the published recipe."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fgsn_ros.config import require
from fgsn_ros.segmentation.architectures import ARCHITECTURES


@dataclass(frozen=True)
class OptimizerSettings:
    """How weights change: as published (Larsson et al., ICCV 2019), or by AdamW."""

    kind: Literal["sgd", "adamw"] = "sgd"
    """SGD with Nesterov's momentum and twice the rate for biases, or AdamW."""
    learning_rate: float = 2.5e-5
    """Highest rate; > 0."""
    weight_decay: float = 1e-4
    """Of weights, not of biases and batch norms; >= 0."""
    momentum: float = 0.9
    """Of SGD; [0, 1)."""
    schedule: Literal["polynomial", "cosine"] = "polynomial"
    """How the rate falls to nothing at the last step."""
    power: float = 1.0
    """Of the polynomial: 1 falls linearly; > 0."""
    warm_up: float = 0.0
    """Share of the steps in which the rate rises; [0, 1)."""
    gradient_norm: float = 0.0
    """Longer gradients are cut to this length; 0 leaves them."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.learning_rate > 0.0, "optimizer.learning_rate must be positive")
        require(self.weight_decay >= 0.0, "optimizer.weight_decay must not be negative")
        require(0.0 <= self.momentum < 1.0, "optimizer.momentum must be in [0, 1)")
        require(self.power > 0.0, "optimizer.power must be positive")
        require(0.0 <= self.warm_up < 1.0, "optimizer.warm_up must be in [0, 1)")
        require(self.gradient_norm >= 0.0, "optimizer.gradient_norm must not be negative")


@dataclass(frozen=True)
class ClusteringSettings:
    """How features become labels (Larsson et al., ICCV 2019, section 3.1)."""

    every: int = 10_000
    """Steps between clusterings; > 0."""
    images: int = 0
    """Reference images that give features, drawn anew each time; 0 takes all."""
    features_per_image: int = 500
    """Features that an image gives; > 0."""
    correspondence_share: float = 0.5
    """Share of them at correspondences, the others at random pixels; [0, 1]."""
    pca_dimensions: int = 256
    """Whitened dimensions that are clustered, at most those of the features; >= 2."""
    smallest: float = 0.01
    """Clusters with a smaller share of the mean cluster's features are made anew; [0, 1)."""
    last_layer: Literal["random", "centres", "kept"] = "random"
    """After a clustering: random, assigning to the new centres, or kept, with labels matched."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.every > 0, "clustering.every must be positive")
        require(self.images >= 0, "clustering.images must not be negative")
        require(self.features_per_image > 0, "clustering.features_per_image must be positive")
        share = self.correspondence_share
        require(0.0 <= share <= 1.0, "clustering.correspondence_share must be in [0, 1]")
        require(self.pca_dimensions >= 2, "clustering.pca_dimensions must be at least 2")
        require(0.0 <= self.smallest < 1.0, "clustering.smallest must be in [0, 1)")


@dataclass(frozen=True)
class LossSettings:
    """Weights of the losses."""

    on_class: float = 1.0
    """Of the cross entropy with the labels or classes of whole crops; >= 0."""
    on_correspondence: float = 1.0
    """Of the loss at correspondences; >= 0."""
    on_hinge: float = 0.0
    """fgsn: of the hinge on the features of corresponding points; >= 0."""
    margin: float = 0.8
    """Cosine from which corresponding features are alike enough for the hinge; [-1, 1]."""
    auxiliary: float = 0.4
    """Of the same losses at the auxiliary head, where the network has one; >= 0."""
    propagate: Literal["both", "either"] = "either"
    """fgsn: learn from both images of a pair, or from one or the other at random."""
    alike: Literal["features", "classes"] = "features"
    """cross-season: corresponding points shall have like features (hinge) or the same class."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        weights = (self.on_class, self.on_correspondence, self.on_hinge, self.auxiliary)
        require(min(weights) >= 0.0, "loss weights must not be negative")
        require(-1.0 <= self.margin <= 1.0, "loss.margin must be in [-1, 1]")


@dataclass(frozen=True)
class TrainSettings:
    """One training run; see `fgsn_ros.training.trainer.train`."""

    data: Path
    """Images with classes (semantic), or correspondences: a folder, or a YAML file that names the
    folders of one set or of several."""
    output: Path
    """Folder of checkpoint.safetensors (last), best.safetensors, state and TensorBoard."""
    scenes: Path | None = None
    """cross-season: images with classes; without it, those of `data`."""
    objective: Literal["semantic", "fgsn", "cross-season", "statistics"] = "fgsn"
    """Learn classes, clusters, classes that keep through the seasons, or only count statistics."""
    architecture: Literal[ARCHITECTURES] | None = None  # type: ignore[valid-type]
    """Network; without it that of `init`, else pspnet_resnet101."""
    init: Path | None = None
    """Checkpoint, published PSPNet weights, or torchvision's weights; without it, from scratch."""
    label_count: int = 100
    """Number of clusters K of the fgsn objective; [8, 1000]."""
    iterations: int = 60_000
    """Steps of the optimizer; > 0."""
    batch_size: int = 1
    """Crops (semantic) or pairs of crops that a process takes at once; > 0."""
    accumulate: int = 1
    """Batches whose gradients make a step; > 0."""
    crop_height: int = 713
    """[px]; > 0."""
    crop_width: int = 713
    """[px]; > 0."""
    short_side_px: int = 1024
    """Images are resized to this shorter side as they are read; 0 leaves them."""
    scale_min: float = 1.0
    """Smallest random scale of a crop; (0, scale_max]."""
    scale_max: float = 1.0
    """Largest random scale of a crop."""
    flip_share: float = 0.0
    """Share of crops, or of pairs of crops, that are mirrored; [0, 1]."""
    rotation_deg: float = 0.0
    """Labelled crops are turned by up to this; [0, 180)."""
    photometric: bool = False
    """Change brightness, contrast, colour, blur and noise at random."""
    road_marking: bool = False
    """Learn Mapillary Vistas' lane markings as a class of their own; else they are road."""
    coarse: bool = False
    """Learn Cityscapes' coarse annotations too."""
    grey_share: float = 0.0
    """Share of crops made grey, for use on grey cameras; [0, 1]."""
    freeze_batch_norm: bool = True
    """Keep the batch statistics of `init` (from scratch they are learnt)."""
    class_weights: bool = False
    """semantic: rare classes weigh more."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the network's arithmetic; the weights stay float32."""
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    clustering: ClusteringSettings = field(default_factory=ClusteringSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    validate_every: int = 2500
    """Steps between validations and written checkpoints; > 0."""
    validation_images: int = 150
    """Images with classes, or pairs of images, that a validation looks at; > 0."""
    cache_mb: int = 2000
    """Memory for decoded images [MB]; >= 0."""
    workers: int = 2
    """Threads that prepare the next batches; 0 prepares each when it is needed."""
    threads: int = 0
    """CPU threads of the network; 0 leaves PyTorch's choice."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """"auto" takes a GPU where there is one."""
    seed: int = 0
    """Same seed, same result on a CPU with as many threads; >= 0."""
    resume: bool = False
    """Continue from the state in `output`."""
    half: bool = False
    """Write the weights as float16."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(8 <= self.label_count <= 1000, "label_count must be in [8, 1000]")
        for name in ("iterations", "batch_size", "accumulate", "crop_height", "crop_width"):
            require(getattr(self, name) > 0, f"{name} must be positive")
        for name in ("validate_every", "validation_images"):
            require(getattr(self, name) > 0, f"{name} must be positive")
        require(0.0 < self.scale_min <= self.scale_max, "scales must be positive and ordered")
        for name in ("flip_share", "grey_share"):
            require(0.0 <= getattr(self, name) <= 1.0, f"{name} must be in [0, 1]")
        require(0.0 <= self.rotation_deg < 180.0, "rotation_deg must be in [0, 180)")
        for name in ("short_side_px", "cache_mb", "workers", "threads", "seed"):
            require(getattr(self, name) >= 0, f"{name} must not be negative")
        require(self.objective != "statistics" or self.init is not None, "statistics need init")

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint that the run wrote."""
        return self.output / "checkpoint.safetensors"

    @property
    def best(self) -> Path:
        """The checkpoint of the best validation."""
        return self.output / "best.safetensors"

    @property
    def state(self) -> Path:
        """What is needed, beside the settings, to continue the run."""
        return self.output / "training_state.pt"

    def described(self) -> dict[str, Any]:
        """The settings as JSON values, for the checkpoint; paths by name alone."""

        def plain(value: Any) -> Any:
            if isinstance(value, Path):
                return value.name
            if isinstance(value, (tuple, list)):
                return [plain(item) for item in value]
            if isinstance(value, dict):
                return {name: plain(item) for name, item in value.items()}
            return value

        return dict(plain(dataclasses.asdict(self)))
