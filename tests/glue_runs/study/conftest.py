# SPDX-License-Identifier: Apache-2.0
import pytest
import study_samples


@pytest.fixture(scope="session")
def pets(tmp_path_factory):
    """Folder of the data and the model of the tiny study."""
    return study_samples.write_data(tmp_path_factory.mktemp("pets"))
