# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that push: a Hub on the loopback interface, and this process pointed to it."""

import time
from types import SimpleNamespace

import huggingface_hub.utils._http as http
import pytest
from hub_runs import POLICY, USERS
from hub_server import hub
from huggingface_hub import close_session, constants

from logitmix_nlp.publishing.trainer import PublishingMixin


@pytest.fixture
def point_to(monkeypatch, tmp_path):
    """Function that makes an address the Hub of this process, without Xet and without long waits."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(http, "time", SimpleNamespace(sleep=lambda seconds: time.sleep(0.001), time=time.time))
    monkeypatch.setattr(PublishingMixin, "retry_policy", POLICY)

    def point(url):
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    yield point
    close_session()


@pytest.fixture
def server(point_to):
    """An empty Hub with two users; this process talks to it."""
    with hub({}, USERS) as running:
        point_to(running.url)
        yield running


def pytest_collection_modifyitems(items):
    """huggingface_hub calls its HTTP library in a way that the library deprecates."""
    for item in items:
        if "point_to" in item.fixturenames:
            item.add_marker(pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"))
