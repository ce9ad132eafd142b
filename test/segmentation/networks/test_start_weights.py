from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from fgsn_ros.errors import CheckpointError
from fgsn_ros.segmentation.checkpoint import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from fgsn_ros.segmentation.label_network import LogitNetwork
from fgsn_ros.segmentation.networks import LRASPP, make_network, network_weights
from fgsn_ros.segmentation.networks.start_weights import (
    PUBLISHED_MEAN,
    PUBLISHED_STD,
    initial_network,
    published_checkpoint,
)
from fgsn_ros.segmentation.networks.weight_files import read_state_dict
from fgsn_ros.segmentation.onnx_export import export_onnx

K = 6


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def saved(module: nn.Module, path: Path) -> Path:
    torch.save(module.state_dict(), path)
    return path


def read_published(path: Path) -> Checkpoint:
    return published_checkpoint(path, read_state_dict(path))


def published_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names of the published network for the weights of one of ours with the caffe trunk."""
    names = {}
    for name, tensor in weights.items():
        parts = name.split(".")
        if parts[:2] == ["trunk", "stem"]:
            index, kind = divmod(int(parts[2]), 3)
            new = f"fcn.layer1.conv{index + 1}.{('conv', 'bn')[kind]}.{parts[3]}"
        elif parts[0] == "trunk":
            block = f"fcn.layer{int(parts[1][5]) + 1}.block{int(parts[2]) + 1}"
            if parts[3] == "downsample":
                new = f"{block}.proj.{('conv', 'bn')[int(parts[4])]}.{parts[5]}"
            else:
                part = ("reduce", "conv3x3", "increase")[int(parts[3][-1]) - 1]
                new = f"{block}.{part}.{parts[3][:-1]}.{parts[4]}"
        elif parts[:2] == ["head", "stages"]:
            new = f"ppm.stages.{parts[2]}.conv.{('conv', 'bn')[int(parts[3]) - 1]}.{parts[4]}"
        elif parts[0] == "head":
            new = f"final.conv5_4.{parts[1]}.{parts[2]}"
        elif parts[0] == "auxiliary":
            new = f"aux.conv4_aux.{('conv', 'bn')[int(parts[1])]}.{parts[2]}"
        else:
            new = {"classifier": "conv6", "auxiliary_classifier": "conv6_1"}[parts[0]]
            new += "." + parts[1]
        names[new] = tensor
    names["fcn.layer1.conv1.conv.weight"] = names["fcn.layer1.conv1.conv.weight"].flip(1)
    return names


@pytest.fixture(scope="module")
def caffe() -> dict[str, torch.Tensor]:
    return network_weights(make_network("pspnet_resnet50_caffe", K, generator()))


def test_nothing_to_start_from_is_a_random_network_of_the_generator():
    network, mean, std = initial_network(LRASPP, K, None, generator())
    assert (mean, std) == (IMAGENET_MEAN, IMAGENET_STD)
    same = network_weights(make_network(LRASPP, K, generator()))
    assert all(torch.equal(same[n], t) for n, t in network_weights(network).items())


def test_classification_weights_of_torchvision_become_the_trunk(tmp_path):
    resnet = models.resnet50(weights=None, replace_stride_with_dilation=[False, True, True]).eval()
    nn.init.uniform_(resnet.bn1.running_mean)
    path = saved(resnet, tmp_path / "resnet50.pth")
    network, mean, _ = initial_network("pspnet_resnet50", K, path, generator())
    assert mean == IMAGENET_MEAN
    image = torch.rand(1, 3, 33, 65)
    with torch.inference_mode():
        fourth = network.eval().trunk(image)[1]
        expected = nn.Sequential(*list(resnet.children())[:-2])(image)
    assert torch.equal(fourth, expected)


def test_classification_weights_of_mobilenet_become_the_backbone(tmp_path):
    mobilenet = models.mobilenet_v3_large(weights=None)
    path = saved(mobilenet, tmp_path / "mobilenet.pth")
    network, _, _ = initial_network(LRASPP, K, path, generator())
    assert torch.equal(network.backbone[16][0].weight, mobilenet.features[16][0].weight)


@pytest.mark.parametrize("family", ["fcn", "deeplabv3"])
@pytest.mark.parametrize("auxiliary", [True, False])
def test_segmentation_weights_of_torchvision_give_its_logits(family, auxiliary, tmp_path):
    make = getattr(models.segmentation, f"{family}_resnet50")
    theirs = make(weights=None, weights_backbone=None, aux_loss=auxiliary, num_classes=K).eval()
    path = saved(theirs, tmp_path / "segmentation.pth")
    network, _, _ = initial_network(f"{family}_resnet50", K, path, generator())
    image = torch.rand(1, 3, 65, 97)
    with torch.inference_mode():
        features, auxiliary_features = network.eval().features_and_auxiliary(image)
        features_of_theirs = theirs.backbone(image)
        expected = theirs.classifier(features_of_theirs["out"])
        assert torch.equal(network.classify(features), expected)
        if auxiliary:
            expected = theirs.aux_classifier(features_of_theirs["aux"])
            assert torch.equal(network.classify_auxiliary(auxiliary_features), expected)


def test_checkpoint_keeps_its_classifier_for_the_same_label_count_only(tmp_path):
    path = tmp_path / "start.safetensors"
    start = Checkpoint(make_network(LRASPP, K, generator()), mean=(0.5, 0.5, 0.5))
    save_checkpoint(path, start)
    same, mean, _ = initial_network(LRASPP, K, path, generator())
    assert mean == (0.5, 0.5, 0.5)
    assert torch.equal(same.classifier.weight, start.network.classifier.weight)
    other, _, _ = initial_network(LRASPP, K + 1, path, generator())
    assert other.label_count == K + 1
    assert torch.equal(other.fuse[0].weight, start.network.fuse[0].weight)


@pytest.mark.parametrize("form", ["plain", "older", "wrapped", "parallel"])
def test_published_names_become_ours(caffe, form, tmp_path):
    theirs = published_names(caffe)
    if form == "older":
        for new, old in (("conv6", "final.conv6"), ("conv6_1", "aux.conv6_1")):
            for part in ("weight", "bias"):
                theirs[f"{old}.{part}"] = theirs.pop(f"{new}.{part}")
    if form == "parallel":
        theirs = {f"module.{name}": tensor for name, tensor in theirs.items()}
    path = tmp_path / "published.pth"
    torch.save({"state_dict": theirs} if form == "wrapped" else theirs, path)
    checkpoint = read_published(path)
    assert checkpoint.architecture == "pspnet_resnet50_caffe"
    assert checkpoint.label_count == K
    assert (checkpoint.mean, checkpoint.std) == (PUBLISHED_MEAN, PUBLISHED_STD)
    ours = network_weights(checkpoint.network)
    assert ours.keys() == caffe.keys()
    assert all(torch.equal(ours[name], caffe[name]) for name in caffe)


def test_published_weights_with_the_trunk_of_torchvision_are_recognised(tmp_path):
    weights = network_weights(make_network("pspnet_resnet50_v1", 19, generator()))
    theirs = {}
    for name, tensor in weights.items():
        if name.startswith("trunk."):
            name = name.replace("trunk.stem.0", "fcn.conv1").replace("trunk.stem.1", "fcn.bn1")
            theirs[name.replace("trunk.", "fcn.")] = tensor
    theirs |= {n: t for n, t in published_names(weights).items() if not n.startswith("fcn.")}
    save_file(theirs, tmp_path / "published.safetensors")
    network, mean, _ = initial_network(
        "pspnet_resnet50_v1", 8, tmp_path / "published.safetensors", generator()
    )
    assert mean == PUBLISHED_MEAN
    assert network.label_count == 8
    flipped = network.trunk.stem[0].weight.flip(1)
    assert torch.equal(flipped, weights["trunk.stem.0.weight"])


def test_input_of_published_weights_is_their_bgr_bytes_less_their_mean(caffe, tmp_path):
    torch.save(published_names(caffe), tmp_path / "published.pth")
    checkpoint = read_published(tmp_path / "published.pth")
    image = np.random.default_rng(0).integers(0, 256, (41, 65, 3), np.uint8)
    bgr = torch.from_numpy(image[..., ::-1].astype(np.float32))
    theirs = (bgr - torch.tensor([103.939, 116.779, 123.68])).permute(2, 0, 1)[None]
    ours = LogitNetwork(checkpoint, None).normalised(torch.from_numpy(image)[None])
    torch.testing.assert_close(ours, theirs.flip(1), atol=1e-4, rtol=0)


def test_published_checkpoint_survives_being_saved(caffe, tmp_path):
    torch.save(published_names(caffe), tmp_path / "published.pth")
    save_checkpoint(tmp_path / "ours.safetensors", read_published(tmp_path / "published.pth"))
    loaded = load_checkpoint(tmp_path / "ours.safetensors")
    assert loaded.architecture == "pspnet_resnet50_caffe"
    np.testing.assert_allclose(loaded.mean, PUBLISHED_MEAN)
    assert loaded.network.auxiliary_classifier.weight.shape == (K, 256, 1, 1)


def test_wrong_files_are_refused_in_one_line(caffe, tmp_path):
    path = tmp_path / "wrong.pth"
    without_fusion = published_names(caffe)
    del without_fusion["final.conv5_4.conv.weight"]
    for content, message in (
        (b"rubbish", "cannot read weights"),
        ([1, 2], "no table of weights"),
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "stem.1.weight should be .* is nothing"),
        ({"conv1.weight": torch.full((1,), torch.nan)}, "not finite"),
        (without_fusion, "head.conv.weight should be"),
        ({"ppm.stages.0": torch.zeros(1)}, "nothing for trunk.stem.0.weight"),
    ):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(CheckpointError, match=message) as error:
            initial_network("pspnet_resnet50", K, path, generator())
        assert "\n" not in str(error.value)
    with pytest.raises(CheckpointError, match="cannot read"):
        initial_network("pspnet_resnet50", K, tmp_path / "missing.pth", generator())


def test_pickled_code_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "code.pth")
    with pytest.raises(CheckpointError, match="cannot read weights"):
        initial_network(LRASPP, K, tmp_path / "code.pth", generator())


def test_checkpoint_of_another_architecture_is_refused(caffe, tmp_path):
    torch.save(published_names(caffe), tmp_path / "published.pth")
    with pytest.raises(CheckpointError, match="is of architecture pspnet_resnet50_caffe, not"):
        initial_network("pspnet_resnet50", K, tmp_path / "published.pth", generator())


def test_onnx_file_has_no_weights_to_start_from(tmp_path):
    export_onnx(tmp_path / "network.onnx", Checkpoint(make_network(LRASPP, K).eval()), None)
    with pytest.raises(CheckpointError, match="take the .safetensors file"):
        initial_network(LRASPP, K, tmp_path / "network.onnx", generator())


@pytest.mark.parametrize("value", [torch.tensor(3.0), torch.zeros(4), torch.zeros(0, 8, 1, 1)])
def test_a_classifier_of_no_labels_is_refused(tmp_path: Path, value: torch.Tensor) -> None:
    torch.save({"classifier.4.weight": value}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="label count"):
        initial_network("fcn_resnet50", K, tmp_path / "w.pth", generator())
