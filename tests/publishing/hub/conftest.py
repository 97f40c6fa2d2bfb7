# SPDX-License-Identifier: Apache-2.0
from threading import Event

import pytest
from hub_fixtures import point_to, pytest_collection_modifyitems, server

from logitmix_nlp.publishing.hub import push_queue
from logitmix_nlp.publishing.hub.push_queue import Save
from logitmix_nlp.publishing.hub.upload import Target

__all__ = ["point_to", "pytest_collection_modifyitems", "server"]


class Hub:
    """Takes the names of saves, fails when told to, and waits at a gate."""

    def __init__(self):
        self.got, self.outcomes, self.gate = [], {}, Event()
        self.gate.set()

    def fail(self):
        raise ConnectionResetError

    def push(self, save, on_failure, sleep):
        self.gate.wait(20)
        outcome = self.outcomes.get(save.name)
        if isinstance(outcome, Exception):
            raise outcome
        assert (save.folder / "weights").read_text() == save.name
        self.got.append(save.name)
        return save.name


@pytest.fixture
def hub():
    return Hub()


@pytest.fixture
def save(tmp_path):
    def make(number, needed=False):
        folder = tmp_path / "copies" / str(number)
        folder.mkdir(parents=True)
        (folder / "weights").write_text(f"step {number}")
        advice = f"To push it: push-it {number}"
        return Save(f"step {number}", folder, (("", "m"),), advice, Target("me/tiny"), needed=needed)

    yield make
    push_queue.UNFINISHED.clear()
