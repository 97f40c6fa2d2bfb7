# SPDX-License-Identifier: Apache-2.0
"""Trainings that are killed in the middle of a push: repeated, they leave every checkpoint on the Hub and no copy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_runs import MODEL_FILES, USERS
from hub_server import hub

ROOT = Path(__file__).parents[2]
LEFT = {  # by place of death and `save_total_limit`: the copies that the killed process leaves
    "before-copy-1": "nothing",
    "during-copy-1": "checkpoint-4.partial",
    "queued-1": "checkpoint-2,checkpoint-4,checkpoint-6",
    "during-upload-1": "checkpoint-4",
    "before-clean-up-1": "checkpoint-4",
    "before-copy-none": "nothing",
    "queued-none": "nothing",
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """What the worker printed of each case, its output folder, and the repositories."""
    output = tmp_path_factory.mktemp("killed")
    with hub({}, USERS) as server:
        env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "HF_ENDPOINT": server.url}
        env |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(output / "home")}
        command = [sys.executable, str(ROOT / "tests" / "push_kill_worker.py"), str(output), "whole-none", *LEFT]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stderr
    told = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("RESULT")]
    return {case: rest for case, *rest in told}, output, server.repository, done.stderr


@pytest.mark.parametrize("case", LEFT)
def test_a_killed_run_that_is_repeated_leaves_every_checkpoint_on_the_hub(killed, case):
    told, output, repository, said = killed
    first, left, second = told[case]
    assert first == "killed", said
    assert set(LEFT[case].split(",")) <= set(left.split(",")), said
    assert second == "0", said
    whole, files = repository("me/whole-none").files, repository(f"me/{case}").files
    places = [f"checkpoint-{step}/" for step in (2, 4, 6, 8)]
    weights = {f"{place}model.safetensors" for place in places} | {"model.safetensors"}
    assert len({whole[name] for name in weights}) == 4  # the last is the finished model
    assert {name: files.get(name) for name in weights} == {name: whole[name] for name in weights}
    assert {place + name for place in places for name in MODEL_FILES} <= set(files)
    assert not (output / case / "out" / "unpushed").exists()
    assert repository(f"me/{case}").commits[-1].title == "End of training"
