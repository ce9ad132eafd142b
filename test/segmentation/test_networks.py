import pytest
import torch

from fgsn_ros.segmentation.networks import FEATURE_DIM, FgsnNetwork


@pytest.fixture(scope="module")
def network() -> FgsnNetwork:
    return FgsnNetwork(12, torch.Generator().manual_seed(3)).eval()


@pytest.mark.parametrize(
    ("size", "grid"), [((48, 80), (6, 10)), ((45, 83), (6, 11)), ((8, 9), (1, 2))]
)
def test_grid_covers_an_image_of_any_size_at_stride_8(network, size, grid):
    with torch.inference_mode():
        features = network.features(torch.rand(2, 3, *size))
        logits = network.classify(features)
    assert features.shape == (2, FEATURE_DIM, *grid)
    assert logits.shape == (2, 12, *grid)


def test_same_generator_seed_gives_the_same_network_and_leaves_the_global_state():
    before = torch.random.get_rng_state()
    networks = [FgsnNetwork(9, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    first, same, other = (torch.cat([p.flatten() for p in n.parameters()]) for n in networks)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_reset_classifier_changes_the_label_count_only():
    network = FgsnNetwork(9)
    features = network.fuse[0].weight.clone()
    network.reset_classifier(1000, torch.Generator().manual_seed(0))
    assert network.label_count == 1000
    assert torch.equal(features, network.fuse[0].weight)
