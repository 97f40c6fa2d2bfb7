# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import samples


@pytest.fixture
def glue(tmp_path):
    """Hand-made files in the official layout."""
    return samples.write_glue(tmp_path / "glue")


@pytest.fixture(scope="session")
def official_glue():
    """The real GLUE files, if they lie beside the repository."""
    folder = Path(__file__).parents[2].parent / "shared" / "data" / "glue"
    if not folder.is_dir():
        pytest.skip(f"no official GLUE files in {folder}")
    return folder
