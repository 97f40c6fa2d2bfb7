# SPDX-License-Identifier: Apache-2.0
"""`run_glue.py --push_to_hub` against a Hub on the loopback interface: what arrives, and the exit status."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hub_runs import POLICY, TOKEN, USERS, local
from hub_server import HubServer, hub

from logitmix_nlp.commands.push import main as push
from logitmix_nlp.publishing.hub.white_list import publishable_files


def flags(model, glue, folder, *more):
    given = [f"--model_name_or_path={model}", "--task_name=mrpc", f"--data_dir={glue}", f"--output_dir={folder}"]
    given += ["--do_train", "--do_eval", "--do_predict", "--max_seq_length=32", "--max_steps=2", "--use_cpu"]
    return [*given, "--push_to_hub", "--hub_model_id=me/tiny", "--save_steps=1", *more]


def test_model_card_and_results_arrive_without_the_token(server, run_glue, model, glue, tmp_path, capfd):
    assert run_glue.main(flags(model, glue, tmp_path / "out", f"--hub_token={TOKEN}")) == 0
    repository = server.repository("me/tiny")
    names = publishable_files(tmp_path / "out")
    same = [name for name in names if name != "result.json"]
    assert {name: repository.files[name] for name in same} == local(tmp_path / "out", same)
    assert [name for name, content in repository.files.items() if str(tmp_path).encode() in content] == []
    assert {"model.safetensors", "README.md", "all_results.json", "result.json", "training_args.json"} <= set(names)
    assert not {name for name in repository.files if name.endswith((".bin", ".pt", ".tsv", ".parquet"))}
    titles = [commit.title for commit in repository.commits[1:]]
    assert titles == [*(f"Training in progress, step {step}" for step in (1, 2)), "End of training"]
    printed = capfd.readouterr()
    everything = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()] + server.bodies
    assert not any(TOKEN.encode() in content for content in [*everything, *map(str.encode, printed)])


def test_a_password_in_an_address_is_nowhere(server, run_glue, model, glue, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert run_glue.main(flags(model, glue, tmp_path / "out", "--run_name", "https://zoe9:q7x@host/p")) == 0
    local_files = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.suffix != ".bin"]
    assert [path for path in local_files if b"q7x" in path.read_bytes()] == []
    assert not any(b"q7x" in content for content in server.repository("me/tiny").files.values())
    assert b"https://host/p" in server.repository("me/tiny").files["result.json"]


@pytest.mark.parametrize("keep", ["true", "false"])
def test_without_a_hub_the_run_is_finished_and_the_exit_status_tells(
    point_to, run_glue, model, glue, tmp_path, capsys, monkeypatch, keep
):
    with hub({}) as gone:
        pass
    point_to(gone.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert run_glue.main(flags(model, glue, tmp_path / "out", f"--keep_weights={keep}")) == 1
    told = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("error:"))
    assert json.loads((tmp_path / "out" / "result.json").read_text())["metrics"]["eval_f1"] >= 0
    words = shlex.split(told[told.index("python -m logitmix_nlp push") :])
    back = HubServer(gone.store, gone.server_address[1])
    back.store.users.update(USERS)
    try:
        assert push(words[4:], POLICY) == 0
        names = [name for name in publishable_files(tmp_path / "out") if name != "result.json"]
        pushed = back.repository("me/tiny").files
        assert {name: pushed[name] for name in names} == local(tmp_path / "out", names)
    finally:
        back.close()


@pytest.mark.slow
def test_of_two_processes_one_pushes(model, glue, tmp_path):
    root = Path(__file__).parents[2]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*launch, str(root / "scripts/run_glue.py"), *flags(model, glue, tmp_path / "out", "--ddp_backend=gloo")]
    with hub({}, USERS) as server:
        env = {**os.environ, "PYTHONPATH": str(root), "HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN}
        env |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home")}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    repository = server.repository("me/tiny")
    titles = [commit.title for commit in repository.commits[1:]]
    assert titles == [*(f"Training in progress, step {step}" for step in (1, 2)), "End of training"]
    assert sum(request.startswith("POST /api/repos/create") for request in server.requests) == 1
    names = [name for name in publishable_files(tmp_path / "out") if name != "result.json"]
    assert {name: repository.files[name] for name in names} == local(tmp_path / "out", names)
