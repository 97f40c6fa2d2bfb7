# SPDX-License-Identifier: Apache-2.0
"""Trainings while the Hub fails: they finish, nothing is lost, the warnings say what to do, a later push completes."""

import errno
import shlex
import shutil
import time
from threading import Event, Timer

import pytest
from hub_runs import MODEL_FILES, POLICY, READ_TOKEN, TOKEN, USERS, Keeper, by_step, local, trainer
from hub_server import HubServer, hub
from hub_store import Store

from logitmix_nlp.commands.push import main
from logitmix_nlp.publishing.hub.retries import HubPushError
from logitmix_nlp.publishing.hub.white_list import publishable_files
from logitmix_nlp.publishing.trainer import push_or_explain


@pytest.fixture
def warned(caplog):
    """What was logged so far, as one text."""
    return lambda: caplog.text


def push_later(message: str, monkeypatch) -> int:
    """Run the command that a message names."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    words = shlex.split(message[message.index("python -m logitmix_nlp push") :])
    return main([*words[4:]], POLICY)


def assert_complete(server, folder):
    names = publishable_files(folder)
    pushed = server.repository("me/tiny").files
    assert {name: pushed[name] for name in names} == local(folder, names)


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {}], ids=["503", "429", "dropped"])
def test_saves_made_while_the_hub_fails_are_pushed_when_it_is_back(server, tmp_path, warned, fault):
    server.fail("/commit/", **fault)
    keeper = Keeper()
    keeper.after[6] = server.mend
    run = trainer(tmp_path / "out", keeper, save_steps=1)
    run.waiting_saves = 6
    keeper.after[3] = lambda: run._push_queue._thread and run._push_queue._thread.join()
    run.train()
    assert by_step(server.repository("me/tiny")) == keeper.weights
    assert list(keeper.weights) == [1, 2, 3, 4, 5, 6]
    assert "'Training in progress, step 1' to me/tiny failed" in warned()
    assert not run.push_failed


@pytest.mark.parametrize("strategy", ["every_save", "all_checkpoints"])
def test_a_failure_of_a_moment_while_saves_come_fast_drops_none(server, tmp_path, warned, strategy):
    server.fail("/commit/", status=500, times=1)
    held = server.fail("/commit/", until=Event(), times=1)  # the second try, while four saves come

    def soon():
        while held.hits == 0:
            time.sleep(0.005)
        Timer(1.0, held.until.set).start()

    keeper = Keeper({3: soon})
    run = trainer(tmp_path / "out", keeper, hub_strategy=strategy, save_steps=1, save_total_limit=1)
    run.train()
    assert by_step(server.repository("me/tiny")) == keeper.weights
    assert list(keeper.weights) == [1, 2, 3, 4, 5, 6]
    assert "was not pushed" not in warned()
    assert push_or_explain(run)


def test_a_refused_push_warns_with_the_cause_and_a_later_push_completes(server, tmp_path, warned, monkeypatch):
    keeper = Keeper()
    run = trainer(tmp_path / "out", keeper, hub_token=TOKEN)
    server.fail("/commit/", status=403, body=b'{"error": "quota exceeded"}', headers={"Content-Type": "text/json"})
    run.train()
    assert run.state.global_step == 6
    assert warned().count("403 Forbidden from POST /api/models/me/tiny/commit/main: quota exceeded") == 3
    assert run.push_failed
    with pytest.raises(HubPushError, match="Nothing is lost") as raised:
        run.push_to_hub()
    server.mend()
    assert push_later(str(raised.value), monkeypatch) == 0
    assert_complete(server, tmp_path / "out")


def test_a_hub_that_is_down_at_the_start_gets_everything_at_the_end(point_to, tmp_path, warned, monkeypatch):
    with hub({}) as down:
        pass
    point_to(down.url)
    keeper, servers = Keeper(), []
    keeper.after[4] = lambda: servers.append(HubServer(Store({}, USERS), down.server_address[1]))
    run = trainer(tmp_path / "out", keeper)
    assert "could not be created" in warned()
    assert "ConnectError" in warned()
    run.train()
    run.push_to_hub()
    assert by_step(servers[0].repository("me/tiny")) == keeper.weights
    assert not run.push_failed
    assert_complete(servers[0], tmp_path / "out")
    servers[0].close()


def test_a_hub_that_is_gone_at_the_end(server, tmp_path, warned, monkeypatch):
    keeper = Keeper({4: server.close})
    run = trainer(tmp_path / "out", keeper)
    run.train()
    assert run.push_failed
    with pytest.raises(HubPushError, match=r"(?s)ConnectError.*python -m logitmix_nlp push") as raised:
        run.push_to_hub()
    run.save_model()
    assert "Nothing is lost" in warned()
    back = HubServer(server.store, server.server_address[1])
    try:
        assert push_later(str(raised.value), monkeypatch) == 0
        assert_complete(back, tmp_path / "out")
    finally:
        back.close()


def test_a_full_disk_costs_the_push_of_a_save_and_no_more(server, tmp_path, warned, monkeypatch):
    keeper, copyfile = Keeper(), shutil.copyfile

    def full(source, target):
        if "unpushed" in str(target) and "checkpoint-4" in str(source) and str(target).endswith("model.safetensors"):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", full)
    run = trainer(tmp_path / "out", keeper)
    run.train()
    assert sorted(by_step(server.repository("me/tiny"))) == [2, 6]
    assert "The model of step 4 could not be copied: OSError: [Errno 28] No space left" in warned()
    message = next(line for line in warned().splitlines() if "could not be copied" in line)
    assert "Later saves and the finished model replace it" in message
    assert not run.lost_checkpoints
    assert push_or_explain(run)
    assert push_later(message, monkeypatch) == 0
    assert_complete(server, tmp_path / "out")


@pytest.mark.parametrize("limit", [None, 1])
def test_a_lost_checkpoint_is_pushed_to_its_own_folder_and_never_to_the_root(
    server, tmp_path, warned, monkeypatch, capsys, limit
):
    keeper = Keeper()
    run = trainer(tmp_path / "out", keeper, hub_strategy="all_checkpoints", save_total_limit=limit)
    server.fail("/commit/", status=403, body=b"{}")
    keeper.after[4] = lambda: (run._push_queue.wait(), server.mend())
    run.train()
    assert "step 2" in run.lost_checkpoints
    assert "step 6" not in run.lost_checkpoints
    assert not push_or_explain(run)
    told = next(line for line in capsys.readouterr().err.splitlines() if "checkpoint of step 2" in line)
    assert push_later(told, monkeypatch) == 0
    files = server.repository("me/tiny").files
    assert files["checkpoint-2/model.safetensors"] == keeper.weights[2]
    assert (tmp_path / "out" / "checkpoint-2").exists() == (limit is None)
    assert_complete(server, tmp_path / "out")


def test_a_card_that_cannot_be_written_does_not_hold_the_push(server, tmp_path, warned, monkeypatch):
    run = trainer(tmp_path / "out", hub_strategy="end")
    run.train()
    (tmp_path / "out" / "README.md").write_bytes(b"\xff\xfe my notes")
    run.push_to_hub()
    assert "README.md is left as it is, so its results may be out of date: it is not UTF-8" in warned()
    assert "README.md is not pushed, as it is not UTF-8" in warned()
    assert set(server.repository("me/tiny").files) == MODEL_FILES | {".gitattributes"}
    (tmp_path / "out" / "README.md").unlink()

    def full(**card):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run, "create_model_card", full)
    run.push_to_hub("again")
    assert "The model card could not be written: OSError: [Errno 28] No space left" in warned()
    assert_complete(server, tmp_path / "out")


def test_a_training_that_breaks_off_does_not_wait_for_the_hub(server, tmp_path, warned):
    def stop():
        raise KeyboardInterrupt

    server.fail("/commit/", status=503)
    run = trainer(tmp_path / "out", Keeper({4: stop}))
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert "the training was broken off" in warned()
    assert not any((tmp_path / "out").glob("unpushed/*"))


@pytest.mark.parametrize("name", ["a b", "me/me/tiny", "tiny.git"])
def test_a_name_that_cannot_be_right_ends_before_the_training(server, tmp_path, name):
    with pytest.raises(ValueError, match="[Rr]epo"):
        trainer(tmp_path / "out", hub_model_id=name)
    assert server.requests == []


def test_a_token_with_a_line_break_is_refused_without_being_shown(server, tmp_path):
    with pytest.raises(ValueError, match="line breaks") as raised:
        trainer(tmp_path / "out", hub_token=TOKEN + "\n")
    assert TOKEN not in str(raised.value)


def test_a_read_only_token_trains_to_the_end(server, tmp_path, warned):
    run = trainer(tmp_path / "out", hub_token=READ_TOKEN)
    run.train()
    assert run.state.global_step == 6
    assert "403" in warned()
    assert run.push_failed
