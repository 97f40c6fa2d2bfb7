# SPDX-License-Identifier: Apache-2.0
"""Train in child processes that push every checkpoint, kill them with SIGKILL while they push, and repeat them.

python push_kill_worker.py OUTPUT CASE…      # CASE is a place of death and save_total_limit, as in `queued-1`;
                                             # run by test_push_kills.py against a Hub on the loopback interface
"""

import os
import shutil
import signal
import sys
import threading
import traceback
from pathlib import Path

import huggingface_hub._commit_api as commit_api
import torch
from hub_runs import trainer

from logitmix_nlp import publishing
from logitmix_nlp.checkpoints import last_complete_checkpoint
from logitmix_nlp.hub.push_queue import PushQueue


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
        publishing.PublishingTrainer._enqueue = dying(
            publishing.PublishingTrainer._enqueue, lambda trainer, folder, name, *rest: name == "step 4"
        )
    elif place == "during-copy":
        shutil.copyfile = dying(
            shutil.copyfile, lambda source, target: "checkpoint-4/m" in str(source) and "unpushed" in str(target)
        )
    elif place == "queued":
        publishing.push_files = lambda *args, **kwargs: threading.Event().wait()
        publishing.PublishingTrainer._enqueue = dying(
            publishing.PublishingTrainer._enqueue, lambda trainer, folder, name, *rest: name == "step 8"
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
        folder, hub_model_id=f"me/{case}", hub_strategy="all_checkpoints", max_steps=8,
        save_total_limit=int(limit) if limit.isdigit() else None,
    )  # fmt: skip
    made.train(resume_from_checkpoint=last_complete_checkpoint(folder))
    return 0 if publishing.push_or_explain(made) else 1


def in_child(folder: Path, case: str, place: str | None = None) -> str:
    """How a forked process ends: `killed`, or its exit status."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            status = run(folder, case, place)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    return "killed" if os.WIFSIGNALED(status) else str(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    torch.set_num_threads(1)
    output, cases = Path(sys.argv[1]), sys.argv[2:]
    for case in cases:
        folder = output / case / "out"
        place = case.rpartition("-")[0]
        first = in_child(folder, case, place)
        left = sorted(path.name for path in (folder / "unpushed").glob("*"))
        print("RESULT", case, first, ",".join(left) or "nothing", in_child(folder, case), flush=True)
