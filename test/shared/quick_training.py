"""Training runs of some steps."""

from pathlib import Path

from fgsn_ros.config import override
from fgsn_ros.training.settings import TrainSettings


def quick(data: Path, output: Path, **changes) -> TrainSettings:
    """A run of some steps; settings of nested groups are named with their group."""
    fields = {
        "architecture": "lraspp_mobilenet_v3_large", "iterations": 4, "batch_size": 2,
        "crop_height": 32, "crop_width": 48, "short_side_px": 0, "label_count": 8,
        "photometric": True, "validate_every": 2, "device": "cpu", "threads": 1, "workers": 0,
        "optimizer": {"kind": "adamw", "learning_rate": 2e-3, "schedule": "cosine"},
        "clustering": {
            "every": 10, "features_per_image": 60, "pca_dimensions": 8, "last_layer": "centres",
        },
        "loss": {"propagate": "both"},
    }  # fmt: skip
    for name, value in changes.items():
        old = fields.get(name)
        fields[name] = {**old, **value} if isinstance(old, dict) else value
    return override(TrainSettings(data=data, output=output), fields, "test")


def read_scalars(folder: Path, tag: str) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [event.value for event in events.Scalars(tag)]
