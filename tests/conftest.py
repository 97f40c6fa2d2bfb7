# SPDX-License-Identifier: Apache-2.0
import os

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", HF_UPDATE_DOWNLOAD_COUNTS="0")

import network_guard
import pytest
import torch

network_guard.install()


@pytest.fixture(autouse=True)
def _only_loopback():
    """Fail any test that tried to reach another machine, also if the attempt was swallowed."""
    network_guard.ATTEMPTS.clear()
    yield
    assert network_guard.ATTEMPTS == []


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
