# SPDX-License-Identifier: Apache-2.0
"""Train in child processes, kill them with SIGKILL, train on, and compare the weights with those of a whole run.

`main` is run by test_interruptions.py in a process that may be forked.
"""

import contextlib
import json
import os
import random
import signal
import time
import traceback
from pathlib import Path

import tiny
import torch
from safetensors.torch import load_file

from logitmix_nlp.trainer import LogitMixTrainer
from logitmix_nlp.training.checkpoints import last_complete_checkpoint

SAVING = ("_save_optimizer_and_scheduler", "_save_rng_state", "_save")


def train(folder: Path, die_in: str | None = None) -> None:
    """Start or resume the run of a folder, as a user repeating one command; optionally die while saving step 3."""

    class Dying(LogitMixTrainer):
        pass

    def die(self, *args, **kwargs):
        if self.state.global_step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return getattr(LogitMixTrainer, die_in)(self, *args, **kwargs)

    if die_in is not None:
        setattr(Dying, die_in, die)
    run = tiny.trainer(
        folder, tiny.rows(40), tiny.bert(dropout=0.1), Dying, mix_site="layer:1", save_strategy="steps", save_steps=1,
        gradient_accumulation_steps=2, train_sampling_strategy="random", save_total_limit=2,
    )  # fmt: skip
    with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet):
        run.train(resume_from_checkpoint=last_complete_checkpoint(folder))
    run.save_model()


def in_child(folder: Path, kill_after: float | None = None, die_in: str | None = None) -> bool:
    """Train in a forked process, kill it after some seconds; return whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            train(folder, die_in)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main(output: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    in_child(output / "whole")
    start = time.perf_counter()
    in_child(output / "timed")
    seconds = time.perf_counter() - start
    expected = load_file(output / "whole" / "model.safetensors")
    generator, reports = random.Random(seed), []
    for number, die_in in enumerate(SAVING):
        reports.append(killed_run(output / f"saving-{number}", expected, die_in=die_in))
    attempt = 0
    while len(reports) < len(SAVING) + kills:  # a run that was over before it was killed does not count
        report = killed_run(output / f"random-{attempt}", expected, kill_after=generator.random() * seconds)
        reports += [report] * report["killed"]
        attempt += 1
    record = {key: sum(report[key] for report in reports) for key in ("killed", "resumed", "equal")}
    (output / "record.json").write_text(json.dumps(record))


def killed_run(folder: Path, expected: dict[str, torch.Tensor], **death) -> dict[str, bool]:
    """Train until death, then train on; compare the weights with the expected ones."""
    killed = in_child(folder, **death)
    resumed = last_complete_checkpoint(folder) is not None
    in_child(folder)
    found = load_file(folder / "model.safetensors")
    equal = all(torch.equal(found[name], value) for name, value in expected.items())
    return {"killed": killed, "resumed": killed and resumed, "equal": equal}
