# SPDX-License-Identifier: Apache-2.0
"""A grid in processes of its own: killed half-way and repeated, on this machine and on a Ray cluster of two nodes."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import filelock
import pytest
import samples

from glue_runs.grid import command, worker
from glue_runs.grid.plan import GridArguments, plan_runs, write_plan
from glue_runs.runs.record import FLAGS_NAME, LOCK_NAME
from glue_runs.runs.results import load_results
from logitmix_nlp.training.checkpoints import last_complete_checkpoint

ROOT = Path(__file__).parents[3]
STEPS = ["--max_steps", "300", "--save_strategy", "steps", "--save_steps", "40", "--max_seq_length", "32"]
STEPS += [
    "--per_device_train_batch_size",
    "1",
    "--eval_strategy",
    "no",
    "--use_cpu",
    "true",
    "--dataloader_pin_memory",
    "false",
]


def grid(folder: Path, *flags: str) -> list[str]:
    command = [sys.executable, "-m", "glue_runs", "run", "--model", str(folder / "model"), "--output_dir"]
    return [*command, str(folder / "runs"), "--data_dir", str(folder / "glue"), *flags, *STEPS]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}


@contextmanager
def running(command: list[str]):
    """A process that does not outlive the test, and heeds Ctrl-C also where the tests run in the background."""
    process = subprocess.Popen(
        command, env=environment(), stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def wait_for(condition, seconds: float = 200):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


@pytest.fixture
def folder(tmp_path):
    samples.write_model(tmp_path / "model")
    samples.write_glue(tmp_path / "glue")
    return tmp_path


def test_a_grid_killed_half_way_redoes_only_what_is_not_finished(folder, capsys):
    flags = ["--tasks", "cola", "--methods", "vanilla", "mixup", "--seeds", "1"]
    first, second = plan_runs(
        GridArguments(model=str(folder / "model"), output_dir=str(folder / "runs"), tasks=["cola"],
                      methods=["vanilla", "mixup"], seeds=[1], data_dir=str(folder / "glue")), STEPS
    )  # fmt: skip
    write_plan(first)
    assert worker.main(first.folder / FLAGS_NAME) == 0
    with running(grid(folder, *flags)) as killed:
        wait_for(lambda: last_complete_checkpoint(second.folder) is not None or killed.poll() is not None)
    with filelock.FileLock(second.folder / LOCK_NAME, timeout=30):  # its process ends with the grid
        pass
    assert first.finished
    assert not second.finished
    before = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    capsys.readouterr()
    assert command.main(grid(folder, *flags)[4:]) == 0
    assert "1 of 2 runs are finished already" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in first.folder.iterdir()} == before
    assert "Resuming from" in (second.folder / "log.txt").read_text()
    assert second.finished
    assert not [path for path in second.folder.iterdir() if path.suffix == ".safetensors" or path.is_dir()]
    ids, labels, logits = load_results(folder / "runs")[0].predictions()
    assert (ids.tolist(), labels.tolist(), logits.shape) == ([0, 1, 2], [1, 0, 1], (3, 2))


@pytest.mark.slow
def test_ctrl_c_stops_all_runs(folder):
    command = grid(folder, "--tasks", "cola", "--methods", "vanilla", "mixup", "--seeds", "1", "--workers", "2")
    with running(command) as process:
        wait_for(lambda: len(list((folder / "runs").rglob("checkpoint-*"))) == 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert "repeat the command to go on" in process.stderr.read()
    for lock in (folder / "runs").rglob(LOCK_NAME):
        filelock.FileLock(lock, timeout=0).acquire().lock.release()


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_node_ends_complete(folder):
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost = cluster.add_node(num_cpus=1)
    flags = ["--executor", "ray", "--ray_address", cluster.address, "--tasks", "cola", "rte"]
    flags += ["--methods", "vanilla", "mixup", "--seeds", "1", "2"]
    try:
        with running(grid(folder, *flags)) as process:
            wait_for(lambda: len(list((folder / "runs").rglob("result.json"))) >= 2 or process.poll() is not None)
            wait_for(lambda: len(list((folder / "runs").rglob("checkpoint-*"))) >= 2 or process.poll() is not None)
            cluster.remove_node(lost, allow_graceful=False)
            error = process.communicate(timeout=240)[1]
    finally:
        cluster.shutdown()
    assert process.returncode == 0, error
    results = load_results(folder / "runs")
    assert len(results) == 8
    assert any((run.folder / "log.txt").read_text().count("Texts:") == 2 for run in results), "no run was repeated"
    assert json.loads((folder / "runs" / "grid.json").read_text())["tasks"] == ["cola", "rte"]
