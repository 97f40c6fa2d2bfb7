# SPDX-License-Identifier: Apache-2.0
"""README's section on publishing, pasted as written into a shell, against a Hub on the loopback interface."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import glue_rows
import pytest
import samples
from hub_runs import TOKEN, USERS, local
from hub_server import hub

from logitmix_nlp.hub.white_list import publishable_files

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def blocks() -> list[tuple[str, str]]:
    """Language and text of each block of the section."""
    text = README.read_text(encoding="utf-8").split("\n## Publish your model\n")[1].split("\n## ")[0]
    return re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)


@pytest.mark.slow
def test_the_section_works_as_written(tmp_path):
    base = samples.write_model(tmp_path / "base")
    files = {path.name: path.read_bytes() for path in base.iterdir()}
    config = json.loads(files["config.json"])
    files["config.json"] = json.dumps({**config, "architectures": ["BertModel"]}).encode()
    repositories = {("datasets", "nyu-mll/glue"): glue_rows.repository(), ("models", "bert-base-uncased"): files}
    for name in ("scripts", "glue_runs", "logitmix_nlp"):
        (tmp_path / name).symlink_to(ROOT / name)
    with hub(repositories, USERS) as server:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
        env |= {"HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
        env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
        said = []
        for language, text in blocks():
            command = {"bash": ["bash", "-ec", text], "py": [sys.executable, "-c", text]}[language]
            done = subprocess.run(
                command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False
            )
            assert done.returncode == 0, done.stderr
            said.append(done.stdout)
    assert said[1].splitlines()[-1] == f"{server.url}/me/bert-mrpc"
    assert "'score'" in said[2]
    repository = server.repository("me/bert-mrpc")
    names = publishable_files(tmp_path / "out/mrpc")
    assert {name: repository.files[name] for name in names} == local(tmp_path / "out/mrpc", names)
    assert repository.commits[-1].title == "End of training"  # the second block found nothing new
