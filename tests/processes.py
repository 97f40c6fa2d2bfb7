# SPDX-License-Identifier: Apache-2.0
"""Functions of the tests in processes of their own, forked from one that has imported what takes seconds."""

import gc
import json
import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["logitmix_nlp.trainer", "logitmix_nlp.images", "glue_runs.runs.run"])


def launch(processes: int, function: Callable, output: Path, *arguments) -> dict:
    """Call `function(output, *arguments)` in that many processes, several of them ranks; return what rank 0 wrote."""
    output.mkdir(parents=True, exist_ok=True)
    world = {}
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        world = {**address, "WORLD_SIZE": str(processes), "GLOO_SOCKET_IFNAME": "lo"}
    logs = [output / f"rank-{rank}.txt" for rank in range(processes)]
    ranks = []
    for rank, log in enumerate(logs):
        own = {
            **os.environ,
            "TEST_DEVICE": "cpu",
            **world,
            **({"RANK": str(rank), "LOCAL_RANK": str(rank)} if world else {}),
        }
        process = FORKS.Process(target=_call, args=(function, (output, *arguments), own, log))
        process.start()
        ranks.append(process)
    try:
        for process in ranks:
            process.join(240)
        assert [process.exitcode for process in ranks] == [0] * processes, "".join(log.read_text() for log in logs)
    finally:
        for process in ranks:
            process.kill()
    return json.loads((output / "record.json").read_text())


def _call(function: Callable, arguments: tuple, environment: dict[str, str], log: Path) -> None:
    gc.freeze()  # as in conftest.py
    os.environ.clear()
    os.environ.update(environment)
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            function(*arguments)
        except BaseException:
            traceback.print_exc(file=file)
            file.flush()
            os._exit(1)
        # Gloo's destructor joins a thread that waits for the interpreter lock its caller holds (torch 2.13): skip it.
        os._exit(0)
