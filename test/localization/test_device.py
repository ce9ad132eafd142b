import dataclasses
import logging

import numpy as np
import pytest
import torch

from fgsn_ros.errors import LocalizationError, SettingsError
from fgsn_ros.localization import device
from fgsn_ros.localization.localizer import Localizer, LocalizerSettings


@pytest.fixture
def without_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("without_cuda")
def test_a_gpu_that_is_not_there_is_refused_with_what_to_do(drive):
    settings = LocalizerSettings(device="cuda")
    with pytest.raises(LocalizationError, match="no CUDA device.*'cpu' or 'auto'") as refused:
        Localizer(drive.semantic_map, drive.log_ratio, drive.mounts, settings)
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("without_cuda")
def test_auto_stays_on_the_cpu_and_says_why(drive, caplog):
    with caplog.at_level(logging.INFO):
        Localizer(
            drive.semantic_map, drive.log_ratio, drive.mounts, LocalizerSettings(device="auto")
        )
    assert [record.message for record in caplog.records if "CPU" in record.message]
    assert device.available("cpu") == "cpu"


def test_a_gpu_without_what_drives_it_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for missing, advice in (("triton", "pip install triton"), ("torch", r"fgsn_ros\[torch\]")):
        found = {"torch", "triton"} - {missing}
        monkeypatch.setattr(
            device.importlib.util, "find_spec", lambda name, f=found: name in f or None
        )
        with pytest.raises(LocalizationError, match=advice):
            device.available("cuda")


def test_another_device_needs_a_new_start(drive):
    localizer = Localizer(drive.semantic_map, drive.log_ratio, drive.mounts)
    with pytest.raises(LocalizationError, match="device"):
        localizer.settings = dataclasses.replace(localizer.settings, device="cuda")
    with pytest.raises(SettingsError, match="device"):
        LocalizerSettings(device="tpu")


def test_random_tensors_follow_from_the_seed():
    generator = np.random.default_rng(0)
    assert device.random_numbers("cpu", generator) is generator
    first, same, other = (device.TensorRandom("cpu", seed) for seed in (1, 1, 2))
    numbers = first.standard_normal((50, 3))
    assert (numbers.shape, numbers.dtype) == ((50, 3), torch.float32)
    assert torch.equal(numbers, same.standard_normal((50, 3)))
    assert not torch.equal(numbers, other.standard_normal((50, 3)))
    assert 0.0 <= first.random() < 1.0
    assert first.random().dtype == torch.float64
