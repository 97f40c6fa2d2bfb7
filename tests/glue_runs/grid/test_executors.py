# SPDX-License-Identifier: Apache-2.0
"""How runs are executed, with small programs in place of a training."""

import os
import shutil
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import filelock
import pytest
from run_samples import planned

from glue_runs.grid import executors, worker
from glue_runs.grid.executors import execute_locally, run_on_node, run_process
from glue_runs.grid.plan import GridArguments
from glue_runs.runs.record import LOCK_NAME


@pytest.fixture
def program(monkeypatch):
    """`program(code)` lets each run execute this Python code in its folder, as process of the worker."""

    def program(code: str):
        def start(folder: Path, environment, program):
            with (folder / "log.txt").open("ab") as log:
                return subprocess.Popen(
                    [sys.executable, "-c", code], cwd=folder, stdout=log, stderr=subprocess.STDOUT,
                    env={**os.environ, **environment},
                )  # fmt: skip

        monkeypatch.setattr(executors, "start", start)
        monkeypatch.setattr(executors, "POLL_SECONDS", 0.02)

    return program


def local(folder, count, workers=1):
    args = GridArguments(model="m", output_dir=str(folder), workers=workers)
    return [outcome for outcome in execute_locally(planned(folder, count), args.workers) if outcome is not None]


def test_all_runs_are_executed_and_each_outcome_is_told_once(tmp_path, program):
    program("open('done', 'w').close()")
    outcomes = local(tmp_path, 5, workers=2)
    assert sorted(run.seed for run, _ in outcomes) == list(range(5))
    assert [problem for _, problem in outcomes] == [None] * 5
    assert all((tmp_path / str(seed) / "done").is_file() for seed in range(5))


def test_the_problem_is_the_last_line_of_the_log(tmp_path, program):
    program("import sys; print('much'); print('error: no model  \\n\\n', file=sys.stderr); sys.exit(2)")
    assert [problem for _, problem in local(tmp_path, 1)] == ["error: no model"]


def test_no_more_runs_at_a_time_than_workers(tmp_path, program):
    program(
        "import os, time, pathlib; mark = pathlib.Path('..') / f'mark-{os.getpid()}'; mark.touch(); time.sleep(0.15);"
        "print(len(list(mark.parent.glob('mark-*')))); mark.unlink()"
    )
    local(tmp_path, 6, workers=2)
    counts = [int((tmp_path / str(seed) / "log.txt").read_text()) for seed in range(6)]
    assert max(counts) <= 2


def test_workers_share_the_cores(tmp_path, program, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    program("import os; print(os.environ['OMP_NUM_THREADS'])")
    local(tmp_path, 2, workers=3)
    assert (tmp_path / "1" / "log.txt").read_text() == "2\n"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert executors._environment(0, 3)["OMP_NUM_THREADS"] == "5"


def test_workers_take_visible_gpus_in_turn(tmp_path, program, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert [executors._environment(index, 3)["CUDA_VISIBLE_DEVICES"] for index in range(3)] == ["4", "7", "4"]


def test_a_killed_process_is_started_again(tmp_path, program):
    program(
        "import os, pathlib; seen = pathlib.Path('seen'); first = not seen.exists(); seen.touch();"
        "os.kill(os.getpid(), 9) if first else print('second')"
    )
    assert [problem for _, problem in local(tmp_path, 1)] == [None]
    assert (tmp_path / "0" / "log.txt").read_text() == "second\n"


def test_a_process_that_is_killed_each_time_is_given_up(tmp_path, program):
    program("import os; print('x', flush=True); os.kill(os.getpid(), 9)")
    assert [problem for _, problem in local(tmp_path, 1)] == ["ended by SIGKILL (attempt 3 of 3: memory?)"]
    assert (tmp_path / "0" / "log.txt").read_text() == "x\n" * 3


def test_runs_that_are_under_way_end_when_the_grid_is_left(tmp_path, program):
    program("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    outcomes = execute_locally(planned(tmp_path, 3), 1)
    while not (tmp_path / "0" / "log.txt").is_file() or not (tmp_path / "0" / "log.txt").read_text():
        next(outcomes)
    start = time.monotonic()
    outcomes.close()
    assert time.monotonic() - start < 5
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "0" / "log.txt").read_text()), 0)
    assert not (tmp_path / "1" / "log.txt").exists()


def test_a_run_that_is_stopped_before_it_starts_does_not_start(tmp_path, program):
    program("open('done', 'w').close()")
    stop = threading.Event()
    stop.set()
    assert run_process(tmp_path, {}, stop) == "stopped"
    assert not (tmp_path / "done").exists()


def test_a_node_that_does_not_see_the_folder_says_so(tmp_path):
    assert "does not see" in run_on_node(str(tmp_path), 1)
    assert "shared file system" in run_on_node(str(tmp_path), 1)


def test_a_process_ends_with_its_parent():
    child = (
        "import os; parent = os.getppid(); from glue_runs.grid.worker import end_with_parent;"
        "print(os.getpid(), flush=True); end_with_parent(parent, 0.05)"
    )
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(120)"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    orphan = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    for _ in range(200):
        if not Path(f"/proc/{orphan}").exists() or Path(f"/proc/{orphan}/stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    pytest.fail(f"process {orphan} outlived its parent")


def test_two_processes_never_work_on_one_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(worker, "LOCK_SECONDS", 0.05)
    with filelock.FileLock(tmp_path / LOCK_NAME):
        assert worker.main(tmp_path / "flags.json") == 2
    assert "another process works in" in capsys.readouterr().err


def test_a_folder_that_is_gone_fails_its_run_alone(tmp_path):
    runs = planned(tmp_path, 1)
    shutil.rmtree(runs[0].folder)
    outcomes = execute_locally(runs, 1)
    (problem,) = [outcome[1] for outcome in outcomes if outcome is not None]
    assert "No such file or directory" in problem


def test_ray_missing_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    args = GridArguments(model="m", output_dir=str(tmp_path), executor="ray")
    with pytest.raises(ImportError, match=r"pip install logitmix-nlp\[cluster\]"):
        next(executors.execute(planned(tmp_path, 1), args))


def test_a_ray_cluster_that_asks_for_its_token_says_what_to_set(tmp_path, monkeypatch):
    class AuthenticationError(Exception):
        """As `ray.exceptions.AuthenticationError`, which is no OSError either."""

    def init(**options):
        raise AuthenticationError("Token authentication is enabled but no authentication token was found. Ensure that")

    exceptions = types.SimpleNamespace(AuthenticationError=AuthenticationError)
    monkeypatch.setitem(sys.modules, "ray", types.SimpleNamespace(init=init, exceptions=exceptions))
    args = GridArguments(model="m", output_dir=str(tmp_path), executor="ray", ray_address="10.0.0.1:6379")
    with pytest.raises(ConnectionError, match="the Ray cluster at 10.0.0.1:6379 asks for its token") as error:
        next(executors.execute(planned(tmp_path, 1), args))
    for words in ("RAY_AUTH_MODE=token", "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH", "ray get-auth-token", "was found)"):
        assert words in str(error.value)
