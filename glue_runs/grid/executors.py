# SPDX-License-Identifier: Apache-2.0
"""Where the runs of a grid are executed: processes on this machine, or tasks on a Ray cluster."""

import os
import queue
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from glue_runs.grid.plan import GridArguments, PlannedRun
from glue_runs.grid.worker import GRID_RUN, Program, last_line, start
from glue_runs.runs.record import FLAGS_NAME

__all__ = ["Outcome", "execute", "execute_locally", "execute_on_ray", "run_process"]

POLL_SECONDS = 0.5
ATTEMPTS = 3  # for a run whose process or machine is killed; a run that ends with an error is not repeated
TERMINATE_SECONDS = 10

Outcome = tuple[PlannedRun, str | None]


def execute(runs: Sequence[PlannedRun], args: GridArguments) -> Iterator[Outcome | None]:
    """Execute runs where `args.executor` says; see [`execute_locally`] and [`execute_on_ray`]."""
    return execute_on_ray(runs, args) if args.executor == "ray" else execute_locally(runs, args.workers)


def execute_locally(runs: Sequence[PlannedRun], workers: int, program: Program = GRID_RUN) -> Iterator[Outcome | None]:
    """Execute runs in some processes at a time; cores are divided among them, GPUs shared out in turn.

    Args:
        runs (`Sequence[PlannedRun]`): Runs whose flags lie in their folders; of another program, what it needs.
        workers (`int`): How many at a time.
        program (`Program`): What executes a run.

    Yields:
        For each run that ended, the run and what went wrong, `None` if nothing did; and `None` every half second.
    """
    slots, stop = queue.SimpleQueue(), threading.Event()
    for worker in range(workers):
        slots.put(_environment(worker, workers))

    def one(run: PlannedRun) -> str | None:
        environment = slots.get()
        try:
            return run_process(run.folder, environment, stop, program)
        finally:
            slots.put(environment)

    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(one, run): run for run in runs}
        try:
            yield from _outcomes(
                futures, lambda pending: wait(pending, POLL_SECONDS, FIRST_COMPLETED).done, lambda done: done.result()
            )
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def execute_on_ray(runs: Sequence[PlannedRun], args: GridArguments) -> Iterator[Outcome | None]:
    """Execute runs as tasks of a Ray cluster, which places them, waits for free GPUs and repeats those of dead nodes.

    Every node must have this package, and see the output folder, the data and the model under the same paths.

    Args:
        runs (`Sequence[PlannedRun]`): Runs whose flags lie in their folders.
        args (`GridArguments`): Address of the cluster, and the cores and GPUs that a run needs.

    Yields:
        As [`execute_locally`] does.

    Raises:
        ImportError: If Ray is missing.
        ConnectionError: If there is no cluster at the address, or it asks for a token that is not set here.
    """
    with _connected(args.ray_address) as ray:
        task = ray.remote(
            num_cpus=args.cpus_per_run, num_gpus=args.gpus_per_run, max_retries=ATTEMPTS - 1, max_calls=1
        )(run_on_node)
        futures = {task.remote(str(run.folder), args.cpus_per_run): run for run in runs}

        def result(future: Any) -> str | None:
            try:
                return ray.get(future)
            except ray.exceptions.RayError as error:
                return " ".join(str(error).split())

        try:
            yield from _outcomes(
                futures, lambda pending: ray.wait(pending, num_returns=1, timeout=POLL_SECONDS)[0], result
            )
        finally:
            for future in futures:
                ray.cancel(future, force=True)


def run_on_node(folder: str, cpus: int) -> str | None:
    """Body of a Ray task: execute the run whose flags lie in `folder` on the node where the task is.

    Returns:
        `str`, *optional*: What went wrong.
    """
    if not (Path(folder) / FLAGS_NAME).is_file():
        return f"node {socket.gethostname()} does not see {folder}; output_dir must be on a shared file system."
    return run_process(Path(folder), {"OMP_NUM_THREADS": str(cpus)})


def run_process(
    folder: Path, environment: dict[str, str], stop: threading.Event | None = None, program: Program = GRID_RUN
) -> str | None:
    """Execute the run whose flags lie in `folder` in a process, again if the process is killed.

    Args:
        folder (`Path`): Folder of the run.
        environment (`dict`): Environment variables to set.
        stop (`threading.Event`, *optional*): Ends the process when it is set.
        program (`Program`): What executes the run.

    Returns:
        `str`, *optional*: What went wrong, in one line.
    """
    stop = stop or threading.Event()
    for _ in range(ATTEMPTS):
        if stop.is_set():
            return "stopped"
        try:
            process = start(folder, environment, program)
        except OSError as error:
            return " ".join(str(error).split())
        try:
            while process.poll() is None and not stop.wait(POLL_SECONDS):
                pass
        finally:
            _end(process)
        if process.returncode >= 0 or stop.is_set():
            break
    if process.returncode < 0:
        return f"ended by {signal.Signals(-process.returncode).name} (attempt {ATTEMPTS} of {ATTEMPTS}: memory?)"
    return last_line(folder) if process.returncode else None


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(TERMINATE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(worker: int, workers: int) -> dict[str, str]:
    """Share of the cores, and one of the visible GPUs, for one of the workers."""
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    environment = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)}
    if torch.cuda.is_available():
        named = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = named.split(",") if named else [str(index) for index in range(torch.cuda.device_count())]
        environment["CUDA_VISIBLE_DEVICES"] = devices[worker % len(devices)]
    return environment


def _outcomes(
    pending: dict[Any, PlannedRun], wait_for_some: Callable[[list], Any], result: Callable[[Any], str | None]
) -> Iterator[Outcome | None]:
    pending = dict(pending)
    while pending:
        for future in wait_for_some(list(pending)):
            yield pending.pop(future), result(future)
        yield None


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Ray, connected to the cluster at `address`, or to one that is started on this machine and ended with it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ImportError("--executor ray needs Ray: pip install logitmix-nlp[cluster]") from error
    refused = getattr(ray.exceptions, "AuthenticationError", ())  # which Ray has since 2.52
    try:
        ray.init(address=address, log_to_driver=False, logging_level="warning")
    except refused as error:
        raise ConnectionError(
            f"the Ray cluster at {address or 'this machine'} asks for its token: set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the one that `ray get-auth-token` prints on its head node, here "
            f"and on every node ({str(error).split('. ')[0]})."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
