# SPDX-License-Identifier: Apache-2.0
"""A queue that is full: what waits, what is given up, and which copies stay on the disk."""

from dataclasses import replace
from threading import Event, Timer
from types import SimpleNamespace

import pytest

from logitmix_nlp.publishing.hub import push_queue
from logitmix_nlp.publishing.hub.push_queue import PushQueue
from logitmix_nlp.publishing.hub.retries import HubPushError


def room(monkeypatch, enough):
    """Let the disk seem empty or full."""
    monkeypatch.setattr(push_queue.shutil, "disk_usage", lambda path: SimpleNamespace(free=1e15 if enough else 1.0))


def test_a_given_up_save_that_is_needed_is_kept_while_the_disk_has_room(hub, save, tmp_path, monkeypatch):
    hub.outcomes = {f"step {number}": HubPushError("403.") for number in range(4)}
    queue = PushQueue(hub.push, limit=2)
    for number in range(4):
        room(monkeypatch, number != 1)
        queue.submit(save(number, needed=number != 3))
        queue.wait()
    assert sorted(path.name for path in (tmp_path / "copies").iterdir()) == ["0", "2"]
    assert (tmp_path / "copies" / "2" / "weights").read_text() == "step 2"
    (lost,) = [message for message in queue.messages() if "is lost" in message]
    assert "the disk is nearly full: the model of step 1" in lost


def test_needed_saves_wait_as_long_as_the_disk_has_room(hub, save, monkeypatch):
    room(monkeypatch, True)
    hub.outcomes["step 0"] = HubPushError("out of order.", passing=True)
    queue = PushQueue(hub.push, limit=2, patience=0.05, brief=0.05)
    saves = [save(number, needed=True) for number in range(6)]
    for item in saves[:5]:
        queue.submit(item)
    assert not any(item.done.done() for item in saves)
    room(monkeypatch, False)
    hub.gate.clear()
    queue.submit(saves[5])
    assert len([item for item in saves if item.done.done()]) == 4
    hub.outcomes.clear()
    hub.gate.set()
    queue.wait()
    assert [item.done.exception() is None for item in saves] == [f"step {number}" in hub.got for number in range(6)]
    assert hub.got[-1] == "step 5"


def test_a_folder_that_is_no_copy_is_never_deleted(hub, save):
    hub.outcomes["step 1"] = HubPushError("403.")
    queue, saves = PushQueue(hub.push, limit=2), [replace(save(number), copied=False) for number in range(5)]
    hub.gate.clear()
    for item in saves[:4]:
        queue.submit(item)
    hub.gate.set()
    queue.wait()
    assert hub.got == ["step 0", "step 2", "step 3"]
    assert all(item.folder.exists() for item in saves)


def test_only_copies_count(hub, save):
    hub.gate.clear()
    queue = PushQueue(hub.push, limit=2, patience=0.05)
    saves = [replace(save(number), copied=number in (2, 3, 5)) for number in range(6)]
    for item in saves[:5]:
        queue.submit(item)
    assert not any(item.done.done() for item in saves)
    queue.submit(saves[5])
    assert [item.done.done() for item in saves] == [number == 2 for number in range(6)]
    hub.gate.set()
    queue.wait()
    assert hub.got == ["step 0", "step 1", "step 3", "step 4", "step 5"]


def test_a_hub_that_stands_still_does_not_hold_the_training_for_ever(hub, save):
    hub.gate.clear()
    queue = PushQueue(hub.push, limit=2, patience=0.05)
    saves = [save(number) for number in range(4)]
    for item in saves:
        queue.submit(item)
    assert [message for message in queue.messages() if "push-it" in message] == [
        f"The model of step {number} was not pushed: 2 saves were waiting for the Hub. To push it: push-it {number}"
        for number in (1, 2)
    ]
    hub.gate.set()
    queue.wait()
    assert hub.got == ["step 0", "step 3"]
    with pytest.raises(HubPushError, match="step 1 was not pushed"):
        saves[1].done.result()


def test_a_slow_hub_makes_the_training_wait_and_loses_nothing(hub, save, tmp_path):
    queue = PushQueue(hub.push, limit=2)
    most = []
    for number in range(6):
        queue.submit(save(number))
        most.append(len(list((tmp_path / "copies").iterdir())) if (tmp_path / "copies").exists() else 0)
    queue.wait()
    assert hub.got == [f"step {number}" for number in range(6)]
    assert max(most) <= 3
    assert queue.messages() == []


@pytest.mark.parametrize("needed", [True, False])
def test_what_fails_for_a_moment_drops_nothing(save, monkeypatch, needed):
    room(monkeypatch, True)
    got, failed, again = [], Event(), Event()

    def push(item, on_failure, sleep):
        if not failed.is_set():
            on_failure(ConnectionResetError())
            failed.set()
            again.wait(20)
        got.append(item.name)
        return item.name

    queue, saves = PushQueue(push, limit=3), [save(number, needed) for number in range(4)]
    for item in saves[:3]:
        queue.submit(item)
    assert failed.wait(10)
    Timer(0.1, again.set).start()
    queue.submit(saves[3])
    queue.wait()
    assert got == [f"step {number}" for number in range(4)]
    assert queue.messages() == []


def test_a_hub_that_is_back_is_waited_for(hub, save):
    """Also if it was given up before, and however long it had failed."""
    hub.outcomes["step 0"] = HubPushError("out of order.", passing=True)
    queue, saves = PushQueue(hub.push, limit=2), [save(number) for number in range(6)]
    for item in saves[:2]:
        queue.submit(item)
    while not queue.messages():
        pass
    hub.outcomes.clear()
    queue.submit(saves[2])
    queue.wait()
    queue._brief = 0.0
    hub.gate.clear()
    Timer(0.1, hub.gate.set).start()
    for item in saves[3:]:
        queue.submit(item)
    queue.wait()
    assert hub.got == [f"step {number}" for number in range(6)]
