import numpy as np
import pytest
import torch

from fgsn_ros.commands.demo import PACKAGED_CHECKPOINT
from fgsn_ros.segmentation.checkpoint import Checkpoint, load_checkpoint
from fgsn_ros.segmentation.label_network import LabelNetwork, LogitNetwork
from fgsn_ros.segmentation.networks import make_network
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive


@torch.inference_mode()
def labels(checkpoint: Checkpoint, image: np.ndarray, half: bool) -> np.ndarray:
    network = LabelNetwork(LogitNetwork(checkpoint, 4, half)).eval()
    return network(torch.from_numpy(image)[None])[0][0].numpy()


def test_half_precision_changes_less_than_a_thousandth_of_the_labels():
    drive = SimulatedDrive(DriveSettings(town_seed=5, duration_s=2.0))
    image = drive.render(0).image[120:360, 160:480]
    checkpoint = load_checkpoint(PACKAGED_CHECKPOINT.with_suffix(".safetensors"))
    plain, half = (labels(checkpoint, image, half) for half in (False, True))
    assert np.mean(plain == half) >= 0.999


@pytest.mark.parametrize("architecture", ["pspnet_resnet50_v1", "deeplabv3_resnet50"])
def test_resnet_in_half_precision_runs_with_its_wide_layers_in_float16(architecture):
    network = make_network(architecture, 7).eval()
    image = np.random.default_rng(0).integers(0, 256, (17, 25, 3), np.uint8)
    logits = LogitNetwork(Checkpoint(network), 4, half=True)
    assert logits.network.trunk.layer4[0].conv1.weight.dtype == torch.float16
    assert labels(Checkpoint(network), image, half=True).shape == (5, 7)
