# SPDX-License-Identifier: Apache-2.0
"""The queue alone: order, disk space, a Hub that fails, and the end."""

import sys
from dataclasses import replace
from threading import Event

import pytest

from logitmix_nlp.publishing.hub import push_queue
from logitmix_nlp.publishing.hub.push_queue import PushQueue, finish_at_exit
from logitmix_nlp.publishing.hub.retries import HubPushError, RetryPolicy, with_retries


def test_saves_are_pushed_in_order_and_their_copies_deleted(hub, save, tmp_path):
    queue, saves = PushQueue(hub.push, limit=5), [save(number) for number in range(5)]
    for item in saves:
        queue.submit(item)
    queue.wait()
    assert hub.got == [f"step {number}" for number in range(5)]
    assert [item.done.result(timeout=5) for item in saves] == hub.got
    assert not (tmp_path / "copies").exists()
    assert queue.messages() == []


def test_the_folder_of_copies_stays_while_copies_may_be_made(hub, save, tmp_path):
    queue, item = PushQueue(hub.push), save(0)
    queue.submit(item)
    item.done.result(timeout=5)
    assert (tmp_path / "copies").is_dir()
    queue.wait()
    assert not (tmp_path / "copies").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_pushing_thread_that_dies_does_not_hold_the_training(hub, save):
    queue, item = PushQueue(lambda *given: sys.exit()), save(0)
    queue.submit(item)
    queue.wait()
    with pytest.raises(HubPushError, match="was not pushed"):
        item.done.result(timeout=5)


def test_what_fails_in_passing_stays_first_and_is_tried_again(hub, save):
    hub.outcomes["step 1"] = HubPushError("out of order.", passing=True)
    queue = PushQueue(hub.push)
    for number in range(2):
        queue.submit(save(number))
    while not (told := queue.messages()):
        pass
    assert told == ["out of order. It is tried again at the next save and at the end."]
    hub.outcomes.clear()
    queue.submit(save(2))
    queue.wait()
    assert hub.got == ["step 0", "step 1", "step 2"]


def test_what_still_fails_at_the_end_is_given_up_with_the_command(hub, save, tmp_path):
    hub.outcomes["step 0"] = HubPushError("out of order.", passing=True)
    queue = PushQueue(hub.push)
    queue.submit(save(0))
    queue.submit(save(1))
    queue.wait()
    told = queue.messages()
    assert told[-2:] == [
        f"The model of step {number} was not pushed: the Hub still fails. To push it: push-it {number}"
        for number in (0, 1)
    ]
    assert not (tmp_path / "copies").exists()


@pytest.mark.parametrize("error", [HubPushError("403."), ValueError("a bug")])
def test_what_fails_for_good_does_not_hold_the_others_up(hub, save, error):
    hub.outcomes["step 0"] = error
    queue, saves = PushQueue(hub.push), [save(0), save(1)]
    for item in saves:
        queue.submit(item)
    queue.wait()
    assert hub.got == ["step 1"]
    (told,) = queue.messages()
    assert str(error) in told
    assert told.endswith("To push it: push-it 0")
    assert isinstance(saves[0].done.exception(timeout=5), HubPushError)


def test_stopping_gives_up_what_waits_and_lets_the_running_push_end(hub, save):
    hub.gate.clear()
    queue = PushQueue(hub.push)
    for number in range(3):
        queue.submit(save(number))
    while not queue._busy:
        pass
    queue.stop(seconds=0.01)
    told = queue.messages()
    assert len([message for message in told if "was not pushed: the training was broken off" in message]) == 2
    assert "The push of step 0 is still going on" in told[-1]
    hub.gate.set()
    queue._thread.join(10)
    assert hub.got == ["step 0"]


def test_an_interruption_while_a_save_is_queued_leaves_no_copy(hub, save, tmp_path, monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    queue, item = PushQueue(hub.push), save(0)
    monkeypatch.setattr(PushQueue, "_submit", lambda self, save: interrupt(self))
    with pytest.raises(KeyboardInterrupt):
        queue.submit(item)
    assert not item.folder.exists()
    item = replace(save(1), copied=False)
    with pytest.raises(KeyboardInterrupt):
        queue.submit(item)
    assert item.folder.exists()


def test_the_end_of_the_program_waits_for_pushes_and_tells_what_was_lost(hub, save, caplog):
    queue = PushQueue(hub.push)
    queue.submit(save(0))
    finish_at_exit()
    assert hub.got == ["step 0"]
    assert queue not in push_queue.UNFINISHED
    hub.gate.clear()
    for number in (1, 2):
        queue.submit(save(number))
    while not queue._busy:
        pass
    with caplog.at_level("WARNING"):
        finish_at_exit(seconds=0.05)
    hub.gate.set()
    assert (
        "The model of step 2 was not pushed: the Hub took more than 0.05 seconds. To push it: push-it 2" in caplog.text
    )
    assert "The push of step 1 is still going on" in caplog.text


def test_a_push_that_waits_to_try_again_can_be_stopped(hub, save):
    trying = Event()

    def push(item, on_failure, sleep):
        def wait(seconds):
            trying.set()
            sleep(60.0)

        return with_retries(hub.fail, RetryPolicy(), on_failure=on_failure, sleep=wait)

    queue, item = PushQueue(push), save(0)
    queue.submit(item)
    assert trying.wait(10)
    assert queue.stop(seconds=10.0)
    assert queue.messages() == [
        "The model of step 0 was not pushed: the training was broken off. To push it: push-it 0"
    ]
    assert isinstance(item.done.exception(), HubPushError)
