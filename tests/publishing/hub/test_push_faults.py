# SPDX-License-Identifier: Apache-2.0
"""Faults of the Hub at every endpoint: what passes is tried again, what does not is told, nothing is pushed twice."""

import time
from threading import Event, Thread

import pytest
from hub_runs import OTHER_TOKEN, POLICY, READ_TOKEN, TOKEN, local, saved_model
from hub_server import hub
from huggingface_hub import constants
from transformers import AutoModelForSequenceClassification

from logitmix_nlp.publishing.hub.retries import HubPushError, RetryPolicy
from logitmix_nlp.publishing.hub.upload import Target, push_files
from logitmix_nlp.publishing.hub.white_list import publishable_files

ENDPOINTS = {
    "create": "POST /api/repos/create",
    "head": "GET /api/models/me/tiny/revision/",
    "card": "POST /api/validate-yaml",
    "preupload": "POST /api/models/me/tiny/preupload/",
    "lfs": "POST /me/tiny.git/info/lfs/",
    "upload": "PUT /_lfs/upload/",
    "verify": "POST /_lfs/verify/",
    "commit": "POST /api/models/me/tiny/commit/",
}
FAULTS = {
    "503": {"status": 503},
    "429": {"status": 429, "headers": {"Retry-After": "0"}},
    "dropped": {},
    "answer lost": {"after": True},
}


@pytest.fixture
def folder(tmp_path):
    return saved_model(tmp_path / "model")


def push(folder, policy=POLICY, create_pr=False, message="Upload", **target):
    files = {name: folder / name for name in publishable_files(folder)}
    target = Target(**{"repo_id": "me/tiny", "token": TOKEN, **target})
    return push_files(target, files, message, policy, create_pr=create_pr)


def card(folder, text):
    """Change what is to be pushed."""
    (folder / "README.md").write_text(f"---\nlicense: mit\n---\n{text}\n")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_what_passes_is_tried_again(server, folder, endpoint, fault):
    injected = server.fail(ENDPOINTS[endpoint], times=2, **FAULTS[fault])
    commit = push(folder)
    assert injected.hits == 2 or (endpoint, fault) in (("commit", "answer lost"), ("upload", "answer lost"))
    repository = server.repository("me/tiny")
    assert [commit.title for commit in repository.commits] == ["initial commit", "Upload"]
    assert commit.oid == repository.commits[-1].oid
    names = publishable_files(folder)
    assert {name: repository.files[name] for name in names} == local(folder, names)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_does_not_pass_is_told_at_once(server, folder, endpoint, status):
    injected = server.fail(ENDPOINTS[endpoint], status=status, body=b"{}")
    with pytest.raises(HubPushError, match=f"{status} .* from (P|G)") as raised:
        push(folder)
    assert injected.hits == 1
    assert not raised.value.passing


# Not `verify`: a file that is stored is not verified again.
@pytest.mark.parametrize("endpoint", [name for name in ENDPOINTS if name != "verify"])
def test_what_stays_out_of_order_ends_after_the_last_try(server, folder, endpoint):
    server.fail(ENDPOINTS[endpoint], status=503)
    with pytest.raises(HubPushError, match="503|not JSON") as raised:
        push(folder)
    assert raised.value.passing
    server.mend()
    push(folder)
    names = publishable_files(folder)
    assert {name: server.repository("me/tiny").files[name] for name in names} == local(folder, names)


def test_a_read_only_token_and_a_stranger_are_told_what_to_do(server, folder):
    with pytest.raises(HubPushError, match=r"403 .*may not write.*use a token that may write"):
        push(folder, token=READ_TOKEN)
    push(folder)
    with pytest.raises(HubPushError, match=r"403 .*You may not (create|write to) me/tiny"):
        push(folder, token=OTHER_TOKEN)
    with pytest.raises(HubPushError, match=r"401 .*hf auth login"):
        push(folder, token="hf_unknown")


def test_a_broken_card_is_told_and_nothing_is_committed(server, folder):
    (folder / "README.md").write_text("---\nlicense: [mit\n---\n")
    with pytest.raises(HubPushError, match=r"Invalid metadata in README.md.*400") as raised:
        push(folder)
    assert not raised.value.passing
    assert len(server.repository("me/tiny").commits) == 1


def test_a_commit_that_lands_after_a_later_one_is_void(server, folder):
    push(folder)
    card(folder, "of step 12")
    late = server.fail("/commit/", status=504, until=Event(), times=1)
    push(folder, message="Step 12")
    card(folder, "of the end")
    push(folder, message="End of training")
    late.until.set()
    assert late.landed.wait(10)
    repository = server.repository("me/tiny")
    assert [commit.title for commit in repository.commits[2:]] == ["Step 12", "End of training"]
    assert b"of the end" in repository.files["README.md"]


def test_a_commit_that_lands_before_its_repetition_is_not_repeated(server, folder):
    late = server.fail("/commit/", status=504, until=Event(), times=1)
    second = server.fail("/commit/", until=Event(), times=1)  # is on its way when the first one lands

    def land():
        while second.hits == 0:
            time.sleep(0.005)
        late.until.set()
        late.landed.wait(10)
        second.until.set()

    thread = Thread(target=land)
    thread.start()
    commit = push(folder)
    thread.join()
    repository = server.repository("me/tiny")
    assert [commit.title for commit in repository.commits] == ["initial commit", "Upload"]
    assert commit.oid == repository.commits[-1].oid


def test_what_somebody_else_commits_meanwhile_stays(server, folder):
    push(folder)
    card(folder, "new")
    held = server.fail("/commit/", until=Event(), times=1)
    repository = server.repository("me/tiny")

    def commit():
        while held.hits == 0:
            time.sleep(0.005)
        repository.add("main", "Notes", {**repository.files, "notes.txt": b"mine"})
        held.until.set()

    thread = Thread(target=commit)
    thread.start()
    push(folder)
    thread.join()
    assert [commit.title for commit in repository.commits[2:]] == ["Notes", "Upload"]
    assert repository.files["notes.txt"] == b"mine"
    assert b"new" in repository.files["README.md"]


@pytest.mark.parametrize("status", [409, 412])
def test_commits_that_come_in_between_are_waited_for(server, folder, status):
    injected = server.fail("/commit/", status=status, times=2)
    assert push(folder).oid == server.repository("me/tiny").commits[-1].oid
    assert injected.hits == 2
    card(folder, "new")
    server.fail("/commit/", status=status)
    with pytest.raises(HubPushError, match=str(status)) as raised:
        push(folder)
    assert raised.value.passing


def test_a_silent_hub_counts_as_failed(server, folder):
    push(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\nnew\n")
    free = Event()
    injected = server.fail("/commit/", until=free)
    with pytest.raises(HubPushError, match="Timeout|timed out") as raised:
        push(folder, RetryPolicy(attempts=2, first_wait=0.001, timeout=0.5))
    free.set()
    assert injected.hits == 2
    assert raised.value.passing


def test_a_hub_that_asks_to_wait_longer_than_we_have_patience_is_left_alone(server, folder):
    injected = server.fail("/commit/", status=429, headers={"Retry-After": "1000"})
    with pytest.raises(HubPushError, match="429"):
        push(folder)
    assert injected.hits == 1


def test_nobody_there(point_to, folder):
    with hub({}) as gone:
        pass
    point_to(gone.url)
    with pytest.raises(HubPushError, match="ConnectError") as raised:
        push(folder)
    assert raised.value.passing


def test_offline_mode_is_named_and_not_tried_again(server, folder, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    waits, files = [], {"README.md": folder / "README.md"}
    with pytest.raises(HubPushError, match="HF_HUB_OFFLINE is set") as raised:
        push_files(Target("me/tiny", TOKEN), files, "Upload", POLICY, sleep=waits.append)
    assert waits == []
    assert not raised.value.passing
    assert server.requests == []


def test_private_weights_never_go_to_a_public_repository(server, folder):
    push(folder)
    with pytest.raises(HubPushError, match="me/tiny exists and is public"):
        push(folder, private=True)
    push(folder, repo_id="me/secret", private=True)
    push(folder, repo_id="me/secret", private=True)
    assert server.repository("me/secret").private


def test_a_pull_request_is_opened_once(server, folder):
    push(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\nbetter\n")
    server.fail("/commit/", after=True, times=1)
    with pytest.raises(HubPushError, match="disconnected|RemoteProtocolError"):
        push(folder, token=OTHER_TOKEN, create_pr=True)
    assert server.repository("me/tiny").pull_requests == 1
    (folder / "README.md").write_text("---\nlicense: mit\n---\nbest\n")
    assert push(folder, create_pr=True).pr_url == f"{server.url}/me/tiny/discussions/2"


def test_shards_replace_the_single_file(server, folder):
    push(folder)
    place = "last-checkpoint/"
    push_files(Target("me/tiny", TOKEN), {f"{place}model.safetensors": folder / "model.safetensors"}, "Old", POLICY)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="10kB")
    push(folder)
    names = set(server.repository("me/tiny").files)
    assert "model.safetensors" not in names
    assert f"{place}model.safetensors" in names
    files = {place + name: folder / name for name in publishable_files(folder)}
    push_files(Target("me/tiny", TOKEN), files, "New", POLICY)
    assert f"{place}model.safetensors" not in server.repository("me/tiny").files
    assert {name for name in publishable_files(folder) if name.startswith("model-")} <= names
