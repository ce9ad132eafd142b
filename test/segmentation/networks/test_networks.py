import pytest
import torch
from torch import nn
from torch.nn import functional

from fgsn_ros.errors import SettingsError
from fgsn_ros.segmentation.networks import ARCHITECTURES, LRASPP, FgsnNetwork, make_network
from fgsn_ros.segmentation.networks.resnet import DilatedResnet, PyramidHead


@pytest.fixture(scope="module")
def network() -> FgsnNetwork:
    return make_network(LRASPP, 12, torch.Generator().manual_seed(3)).eval()


@pytest.mark.parametrize(
    ("size", "grid"), [((48, 80), (6, 10)), ((45, 83), (6, 11)), ((8, 9), (1, 2))]
)
def test_grid_covers_an_image_of_any_size_at_stride_8(network, size, grid):
    with torch.inference_mode():
        features = network.features(torch.rand(2, 3, *size))
        logits = network.classify(features)
    assert features.shape == (2, network.feature_dim, *grid)
    assert logits.shape == (2, 12, *grid)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("size", "grid"), [((65, 97), (9, 13)), ((64, 9), (8, 2))])
def test_every_architecture_has_features_and_logits_at_stride_8(architecture, size, grid):
    with torch.device("meta"):
        network = make_network(architecture, 7)
        features, auxiliary = network.features_and_auxiliary(torch.rand(2, 3, *size))
        assert features.shape == (2, network.feature_dim, *grid)
        assert network.classify(features).shape == (2, 7, *grid)
        assert (auxiliary is None) == (network.auxiliary_classifier is None)
        if auxiliary is not None:
            assert network.classify_auxiliary(auxiliary).shape == (2, 7, *grid)


def test_unknown_architecture_is_refused_with_the_names_of_all():
    with pytest.raises(SettingsError, match="no architecture vgg16; take one of lraspp_"):
        make_network("vgg16", 7)


def test_same_generator_seed_gives_the_same_network_and_leaves_the_global_state():
    before = torch.random.get_rng_state()
    networks = [make_network(LRASPP, 9, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    first, same, other = (torch.cat([p.flatten() for p in n.parameters()]) for n in networks)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_reset_classifiers_changes_the_label_count_only():
    network = make_network(LRASPP, 9)
    features = network.fuse[0].weight.clone()
    network.reset_classifiers(1000, torch.Generator().manual_seed(0))
    assert network.label_count == 1000
    assert torch.equal(features, network.fuse[0].weight)


def test_reset_classifiers_replaces_the_auxiliary_one_too():
    with torch.device("meta"):
        network = make_network("fcn_resnet50", 9)
        network.reset_classifiers(11)
    assert network.classifier.weight.shape == (11, 512, 1, 1)
    assert network.auxiliary_classifier.weight.shape == (11, 256, 1, 1)


@pytest.mark.parametrize("grid", [(13, 9), (1, 2), (6, 6)])
def test_pyramid_head_is_the_convolution_of_the_interpolated_pyramid(grid):
    torch.manual_seed(0)
    head = PyramidHead().eval()
    trunk = torch.randn(2, 2048, *grid).relu()
    pyramid = [
        functional.interpolate(stage(trunk), size=grid, mode="bilinear", align_corners=True)
        for stage in head.stages
    ]
    with torch.inference_mode():
        expected = head.bn(head.conv(torch.cat([trunk, *pyramid], dim=1)))
        torch.testing.assert_close(head(trunk), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("form", ["", "v1", "caffe"])
def test_cells_of_a_resnet_are_centred_on_every_eighth_pixel(form):
    """A trunk of equal positive weights answers symmetrically around the pixel it is centred on."""
    trunk = DilatedResnet("resnet50", form).eval()
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1.0 / module.weight[0].numel())
    image = torch.zeros(1, 3, 1, 257)
    image[..., 128] = 1.0
    with torch.inference_mode():
        answer = trunk(image)[1][0, 0, 0]
    assert len(answer) == 33
    assert answer[16] > 0
    torch.testing.assert_close(answer, answer.flip(0))
