import pytest
import torch

from fgsn_ros.segmentation.networks import make_network
from fgsn_ros.training.optimizers import learning_rate, make_optimizer, set_learning_rate
from fgsn_ros.training.settings import OptimizerSettings

PUBLISHED = OptimizerSettings()


def test_published_optimizer_is_nesterovs_sgd_with_twice_the_rate_for_biases():
    network = make_network("lraspp_mobilenet_v3_large", 9)
    optimizer = make_optimizer(network, PUBLISHED)
    assert isinstance(optimizer, torch.optim.SGD)
    set_learning_rate(optimizer, 0.25)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    seen = set()
    for group in optimizer.param_groups:
        assert (group["nesterov"], group["momentum"]) == (True, 0.9)
        for parameter in group["params"]:
            name = names[id(parameter)]
            assert group["lr"] == (0.5 if name.endswith("bias") else 0.25)
            assert group["weight_decay"] == (1e-4 if parameter.ndim > 1 else 0.0)
            seen.add(name)
    assert seen == set(names.values())


def test_published_rate_falls_linearly_to_nothing():
    rates = [learning_rate(PUBLISHED, step, 100) for step in (0, 50, 75, 100)]
    assert rates == pytest.approx([2.5e-5, 1.25e-5, 0.625e-5, 0.0])


def test_cosine_rate_rises_in_the_warm_up_and_falls_to_nothing():
    settings = OptimizerSettings("adamw", 1.0, schedule="cosine", warm_up=0.1)
    rates = [learning_rate(settings, step, 100) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[50] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0.0)
