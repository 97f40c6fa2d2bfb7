# SPDX-License-Identifier: Apache-2.0
import importlib.util
from pathlib import Path

import pytest
import samples
from hub_fixtures import point_to, pytest_collection_modifyitems, server

__all__ = ["point_to", "pytest_collection_modifyitems", "server"]

SCRIPT = Path(__file__).parents[2] / "scripts" / "run_glue.py"


@pytest.fixture(scope="session")
def run_glue():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("run_glue", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Folder of a tiny model with a head of two classes."""
    return samples.write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def glue(tmp_path):
    """Hand-made files in the official layout."""
    return samples.write_glue(tmp_path / "glue")
