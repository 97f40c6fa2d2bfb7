# SPDX-License-Identifier: Apache-2.0
import os

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", HF_UPDATE_DOWNLOAD_COUNTS="0")

import gc
import logging

import datasets
import network_guard
import pytest
import tiny
import torch
import transformers

network_guard.install()


def pytest_configure():
    """The device of the tests must be here."""
    if tiny.device() == "cuda" and not torch.cuda.is_available():
        pytest.exit(f"DEVICE=cuda: PyTorch {torch.__version__} sees no GPU on this machine.", returncode=2)
    if tiny.device() != "cpu":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def pytest_collection_modifyitems(items):
    """Tests that need a GPU run where one is, whatever the device of the others."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a GPU"))


@pytest.fixture
def device() -> torch.device:
    """Where numeric tests compute."""
    return torch.device(tiny.device())


@pytest.fixture(params=[torch.float32, torch.bfloat16, torch.float16], ids=lambda dtype: str(dtype).partition(".")[2])
def dtype(request) -> torch.dtype:
    """What numeric tests compute in."""
    return request.param


def pytest_collection_finish():
    """Each training starts with a full garbage collection: take what was imported out of it, half of a short run."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _only_loopback():
    """Fail any test that tried to reach another machine, also if the attempt was swallowed."""
    network_guard.ATTEMPTS.clear()
    yield
    assert network_guard.ATTEMPTS == []


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _as_loud_as_before():
    """Commands and runs set up logging for their whole process."""
    loggers = [logging.getLogger(name) for name in ("logitmix_nlp", "glue_runs")]
    before = [(logger, list(logger.handlers), logger.level) for logger in loggers]
    libraries = [(one, one.utils.logging.get_verbosity()) for one in (transformers, datasets)]
    yield
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
    for library, level in libraries:
        library.utils.logging.set_verbosity(level)
