# SPDX-License-Identifier: Apache-2.0
"""A node that dies and Ctrl-C, quickly: short programs for the trainings, and a cluster that keeps Ray's promises."""

import os
import signal
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest
from run_samples import planned

from glue_runs.grid import command as grid_command
from glue_runs.grid import executors, worker
from glue_runs.grid.executors import ATTEMPTS, execute_on_ray
from glue_runs.grid.plan import GridArguments
from glue_runs.grid.progress_bar import ProgressView


class NodeDied(BaseException):
    """The machine of a task is gone, and all its processes with it."""


class Task:
    """One call of a function on a node."""

    def __init__(self, body, values):
        self.body, self.values = body, values


class Cluster(ModuleType):
    """Ray as far as a grid uses it: a task whose node dies is repeated `max_retries` times, then its result raises."""

    def __init__(self):
        super().__init__("ray")
        self.exceptions = SimpleNamespace(RayError=type("RayError", (Exception,), {}))
        self.options, self.cancelled, self.open = {}, [], False

    def init(self, **options):
        self.open = True

    def shutdown(self):
        self.open = False

    def remote(self, **options):
        self.options = options
        return lambda body: SimpleNamespace(remote=lambda *values: self.submit(body, values))

    def submit(self, body, values):
        return Task(body, values)

    def wait(self, pending, num_returns, timeout):
        return pending[:num_returns], pending[num_returns:]

    def get(self, task):
        for _ in range(self.options["max_retries"] + 1):
            try:
                return task.body(*task.values)
            except NodeDied:
                pass
        raise self.exceptions.RayError("The node of the task died.\nOwner: driver")

    def cancel(self, task, force):
        self.cancelled.append(task)


@pytest.fixture
def cluster(monkeypatch):
    cluster = Cluster()
    monkeypatch.setitem(sys.modules, "ray", cluster)
    monkeypatch.setattr(executors, "POLL_SECONDS", 0.02)
    return cluster


def program(folder, code):
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen([sys.executable, "-c", code], cwd=folder, stdout=log, stderr=subprocess.STDOUT)


def outcomes_on(cluster, folder, monkeypatch, deaths):
    """Execute three runs; the node of the second one dies so many times while the run is under way."""
    lives = {"1": deaths}

    def start(place, environment, *rest):
        assert environment == {"OMP_NUM_THREADS": "2"}
        process = program(place, "print('step')")
        if lives.get(place.name, 0):
            lives[place.name] -= 1
            process.wait()
            raise NodeDied
        return process

    monkeypatch.setattr(executors, "start", start)
    args = GridArguments(model="m", output_dir=str(folder), executor="ray", cpus_per_run=2)
    return {run.seed: problem for run, problem in filter(None, execute_on_ray(planned(folder, 3), args))}


def test_the_run_of_a_node_that_dies_is_repeated_on_another(cluster, tmp_path, monkeypatch):
    assert outcomes_on(cluster, tmp_path, monkeypatch, ATTEMPTS - 1) == {0: None, 1: None, 2: None}
    steps = [(tmp_path / str(seed) / "log.txt").read_text().count("step") for seed in range(3)]
    assert steps == [1, ATTEMPTS, 1]
    assert cluster.options == {"num_cpus": 2, "num_gpus": 0, "max_retries": ATTEMPTS - 1, "max_calls": 1}
    assert not cluster.open


def test_a_run_whose_nodes_all_die_fails_alone(cluster, tmp_path, monkeypatch):
    found = outcomes_on(cluster, tmp_path, monkeypatch, ATTEMPTS)
    assert found == {0: None, 1: "The node of the task died. Owner: driver", 2: None}


def test_the_tasks_of_a_grid_that_is_left_are_cancelled(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "start", lambda place, *rest: program(place, ""))
    args = GridArguments(model="m", output_dir=str(tmp_path), executor="ray")
    outcomes = execute_on_ray(planned(tmp_path, 3), args)
    next(outcomes)
    outcomes.close()
    assert [task.values[0] for task in cluster.cancelled] == [str(tmp_path / str(seed)) for seed in range(3)]
    assert not cluster.open


def test_ctrl_c_stops_all_runs_and_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    runs, processes = planned(tmp_path, 3), []

    def start(place, environment, *rest):
        processes.append(program(place, "import time; print('on', flush=True); time.sleep(60)"))
        return processes[-1]

    def interrupt(view):
        """Ctrl-C, as soon as both workers are at it."""
        if (
            sum("on" in (run.folder / "log.txt").read_text() for run in runs if (run.folder / "log.txt").is_file())
            == 2
        ):
            raise KeyboardInterrupt

    monkeypatch.setattr(executors, "start", start)
    monkeypatch.setattr(executors, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(grid_command, "plan_runs", lambda args, rest: runs)
    monkeypatch.setattr(ProgressView, "update", interrupt)
    assert grid_command.main(["--model", "m", "--output_dir", str(tmp_path), "--workers", "2"]) == 130
    assert capsys.readouterr().err == "stopped; repeat the command to go on; finished runs are kept.\n"
    assert [process.returncode for process in processes] == [-signal.SIGTERM] * 2
    assert not (tmp_path / "2" / "log.txt").exists()


def test_ctrl_c_does_not_reach_the_runs_themselves(tmp_path, monkeypatch):
    """Each is in a session of its own, so that the grid ends it, not the terminal in the midst of a checkpoint."""
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    process = worker.start(tmp_path)
    try:
        assert os.getsid(process.pid) == process.pid != os.getsid(0)
    finally:
        process.kill()
        process.wait()
