# SPDX-License-Identifier: Apache-2.0
"""Train in child processes that push every checkpoint: two at once, or one that is killed in a push, and repeated.

`main` is run by test_push_processes.py against a Hub on the loopback interface, in a process that may be forked. Its
cases: whole-none, two-none, or a place of death and save_total_limit, such as queued-1.
"""

import json
import os
import shutil
import signal
import socket
import threading
import traceback
from pathlib import Path

import huggingface_hub._commit_api as commit_api
import torch
from hub_runs import trainer
from huggingface_hub import constants
from transformers import TrainerCallback

from logitmix_nlp.publishing import trainer as publishing
from logitmix_nlp.publishing.hub.push_queue import PushQueue
from logitmix_nlp.training.checkpoints import last_complete_checkpoint


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(function, when):
    """The function, in which the process dies if its arguments are those."""

    def replacement(*args, **kwargs):
        if when(*args, **kwargs):
            die()
        return function(*args, **kwargs)

    return replacement


def arm(place: str) -> None:
    """Let this process die in the push of step 4, or with three saves in the queue."""
    if place == "before-copy":
        publishing.PublishingMixin._enqueue = dying(
            publishing.PublishingMixin._enqueue, lambda trainer, folder, name, *rest: name == "step 4"
        )
    elif place == "during-copy":
        shutil.copyfile = dying(
            shutil.copyfile, lambda source, target: "checkpoint-4/m" in str(source) and "unpushed" in str(target)
        )
    elif place == "queued":
        publishing.push_files = lambda *args, **kwargs: threading.Event().wait()
        publishing.PublishingMixin._enqueue = dying(
            publishing.PublishingMixin._enqueue, lambda trainer, folder, name, *rest: name == "step 8"
        )
    elif place == "during-upload":
        commit_api._send_commit = dying(
            commit_api._send_commit, lambda *args, commit_message, **kwargs: "step 4" in commit_message
        )
    elif place == "before-clean-up":
        PushQueue._finish = dying(PushQueue._finish, lambda queue, save, result: save.name == "step 4")


def run(folder: Path, case: str, place: str | None) -> int:
    """Start the run of a folder or go on with it, as a user repeating one command; returns the exit status."""
    arm(place)
    limit = case.rpartition("-")[2]
    made = trainer(
        folder, TrainerCallback(), hub_model_id=f"me/{case}", hub_strategy="all_checkpoints", max_steps=8,
        save_total_limit=int(limit) if limit.isdigit() else None,
        ddp_backend="gloo" if "WORLD_SIZE" in os.environ else None,
    )  # fmt: skip
    made.train(resume_from_checkpoint=last_complete_checkpoint(folder))
    return 0 if publishing.push_or_explain(made) else 1


def fork(folder: Path, case: str, place: str | None = None, **environment: str) -> int:
    """Start a process that runs it; returns its id."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.environ.update(environment)
            status = run(folder, case, place)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def end_of(child: int) -> str:
    """How a process ends: `killed`, or its exit status."""
    status = os.waitpid(child, 0)[1]
    return "killed" if os.WIFSIGNALED(status) else str(os.waitstatus_to_exitcode(status))


def two_at_once(folder: Path, case: str) -> list[str]:
    """How the two processes of one training end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    ranks = [fork(folder, case, RANK=rank, LOCAL_RANK=rank, **world) for rank in ("0", "1")]
    return [end_of(child) for child in ranks]


def main(output: Path, url: str, cases: list[str]) -> None:
    """Run the cases; write how their processes ended, and what the killed ones left."""
    torch.set_num_threads(1)
    constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_XET, constants.ENDPOINT = False, True, url
    constants.HUGGINGFACE_CO_URL_TEMPLATE = url + "/{repo_id}/resolve/{revision}/{filename}"
    record = {}
    for case in cases:
        folder, place = output / case / "out", case.rpartition("-")[0]
        if place in ("two", "whole"):
            record[case] = two_at_once(folder, case) if place == "two" else [end_of(fork(folder, case))]
            continue
        first = end_of(fork(folder, case, place))
        left = sorted(path.name for path in (folder / "unpushed").glob("*"))
        record[case] = [first, left, end_of(fork(folder, case))]
    (output / "record.json").write_text(json.dumps(record))
