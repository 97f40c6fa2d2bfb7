# SPDX-License-Identifier: Apache-2.0
"""The page on publishing, pasted as written into a shell, against a Hub on the loopback interface."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import glue_rows
import pytest
import samples
from hub_runs import TOKEN, USERS, local
from hub_server import hub
from huggingface_hub import constants

from glue_runs.runs.run import main as run_main
from logitmix_nlp.commands.push import main as push_main
from logitmix_nlp.publishing.hub.white_list import publishable_files

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "publish.md"


def blocks() -> list[tuple[str, str]]:
    """Language and text of each block of the section."""
    text = PAGE.read_text(encoding="utf-8").split("\n## ")[0]
    return re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)


def test_the_section_works_on_small_files_of_this_disk(server, tmp_path, monkeypatch, capsys):
    """The commands as written, called in this process, with the names of model and data replaced by local ones."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    (_, train), (_, push), (language, load) = blocks()
    words = shlex.split(train.replace("\\\n", " "))
    assert words[:2] == ["python", "scripts/run_glue.py"]
    model, glue = samples.write_model(tmp_path / "model"), samples.write_glue(tmp_path / "glue")
    words[words.index("bert-base-uncased")] = str(model)
    assert run_main([*words[2:], "--data_dir", str(glue), "--use_cpu", "--max_seq_length=32"]) == 0
    words = shlex.split(push)
    assert words[:4] == ["python", "-m", "logitmix_nlp", "push"]
    assert push_main(words[4:]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{server.url}/me/bert-mrpc"
    assert language == "py"
    exec(compile(load, "publish.md", "exec"), {})
    assert "'score'" in capsys.readouterr().out
    repository = server.repository("me/bert-mrpc")
    names = [name for name in publishable_files(tmp_path / "out/mrpc") if name != "result.json"]
    assert {name: repository.files[name] for name in names} == local(tmp_path / "out/mrpc", names)
    assert [commit.title for commit in repository.commits[2:]] == ["End of training"]  # after the one save


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
