"""`fgsn train`: train a network on images with classes or on correspondences."""

from dataclasses import dataclass

from fgsn_ros.config import require_extra
from fgsn_ros.terminal import say
from fgsn_ros.training.settings import TrainSettings


@dataclass(frozen=True)
class Train(TrainSettings):
    """Train a network: first on semantic classes, then on correspondences (fgsn)."""

    def run(self) -> None:
        """Train, and name the checkpoint."""
        require_extra("train", "torch", "torchvision", "faiss", "h5py", "tensorboard")
        from fgsn_ros.training.trainer import train

        say(f"checkpoint: {train(self)}")
