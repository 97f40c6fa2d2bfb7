# SPDX-License-Identifier: Apache-2.0
"""Worker scripts of the tests, launched on several gloo processes."""

import json
import os
import subprocess
import sys
from pathlib import Path


def launch(processes: int, output: Path, *arguments: str, name: str = "ddp_worker.py") -> dict:
    """Run the worker on so many gloo processes; return what rank 0 wrote."""
    worker = str(Path(__file__).with_name(name))
    command = [sys.executable, worker, str(output), *arguments]
    if processes > 1:
        run = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        command = [sys.executable, *run, worker, str(output), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((output / "record.json").read_text())
