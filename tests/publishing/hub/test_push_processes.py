# SPDX-License-Identifier: Apache-2.0
"""Trainings that push, as processes: of two at once one pushes; killed ones that are repeated lack no checkpoint."""

import os
import subprocess
import sys
from pathlib import Path

import push_worker
import pytest
from hub_runs import MODEL_FILES, USERS
from hub_server import hub
from processes import launch

ROOT = Path(__file__).parents[3]
LEFT = {  # by place of death and `save_total_limit`: the copies that the killed process leaves
    "before-copy-1": set(),
    "during-copy-1": {"checkpoint-4.partial"},
    "queued-1": {"checkpoint-2", "checkpoint-4", "checkpoint-6"},
    "during-upload-1": {"checkpoint-4"},
    "before-clean-up-1": {"checkpoint-4"},
    "queued-none": set(),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """How the processes of each case ended, their output folder, the Hub, and the messages."""
    output = tmp_path_factory.mktemp("trained")
    with hub({}, USERS) as server:
        ends = launch(1, push_worker.main, output, server.url, ["two-none", "whole-none", *LEFT])
    return ends, output, server, (output / "rank-0.txt").read_text()


@pytest.mark.parametrize("case", LEFT)
def test_a_killed_run_that_is_repeated_leaves_every_checkpoint_on_the_hub(trained, case):
    ends, output, server, said = trained
    first, left, second = ends[case]
    assert first == "killed", said
    assert LEFT[case] <= set(left), said
    assert second == "0", said
    whole, files = server.repository("me/whole-none").files, server.repository(f"me/{case}").files
    places = [f"checkpoint-{step}/" for step in (2, 4, 6, 8)]
    weights = {f"{place}model.safetensors" for place in places} | {"model.safetensors"}
    assert len({whole[name] for name in weights}) == 4  # the last is the finished model
    assert {name: files.get(name) for name in weights} == {name: whole[name] for name in weights}
    assert {place + name for place in places for name in MODEL_FILES} <= set(files)
    assert not (output / case / "out" / "unpushed").exists()
    assert server.repository(f"me/{case}").commits[-1].title == "End of training"


def test_of_two_processes_one_pushes(trained):
    ends, output, server, said = trained
    assert ends["two-none"] == ["0", "0"], said
    saves = [f"Training in progress, step {step}{what}" for step in (2, 4, 6, 8) for what in ("", ", checkpoint")]
    assert [commit.title for commit in server.repository("me/two-none").commits[1:]] == [*saves, "End of training"]
    assert sum(b"two-none" in body for body in server.bodies if body.startswith(b'{"name"')) == 1
    asked = [request for request in server.requests if request == "GET /api/models/me/two-none/revision/main"]
    assert len(asked) == len(saves) + 1


ENDING = """
import sys, time
from pathlib import Path
from logitmix_nlp.publishing.hub.push_queue import PushQueue, Save
from logitmix_nlp.publishing.hub.upload import Target

def push(save, *rest):
    time.sleep(0.5)
    Path(sys.argv[1], save.name).write_text("pushed")

queue = PushQueue(push)
for name in ("first", "second"):
    queue.submit(Save(name, Path(sys.argv[1]), (), "", Target("me/tiny"), copied=False))
"""


def test_a_program_that_ends_finishes_its_pushes(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", ENDING, str(tmp_path)], env=env, timeout=120, check=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"first": "pushed", "second": "pushed"}
