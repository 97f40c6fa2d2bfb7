# SPDX-License-Identifier: Apache-2.0
"""The script against a Hub on the loopback interface, then without any: in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import glue_rows
import samples
import yaml
from hub_server import hub
from huggingface_hub import metadata_load

ROOT = Path(__file__).parents[2]


def repositories(folder: Path) -> dict:
    """Hand-made rows as `nyu-mll/glue`, and a tiny encoder without head as `bert-base-uncased`."""
    model = samples.write_model(folder / "model")
    config = json.loads((model / "config.json").read_text())
    files = {path.name: path.read_bytes() for path in model.iterdir()}
    files["config.json"] = json.dumps({**config, "architectures": ["BertModel"]}).encode()
    return {("datasets", "nyu-mll/glue"): glue_rows.repository(), ("models", "bert-base-uncased"): files}


def run_script(output_dir: Path, **environment: str) -> subprocess.CompletedProcess:
    flags = ["--model_name_or_path=bert-base-uncased", "--task_name=mrpc", f"--output_dir={output_dir}"]
    flags += ["--do_train", "--do_eval", "--do_predict", "--max_seq_length=32", "--max_steps=2", "--use_cpu"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1", **environment}
    command = [sys.executable, str(ROOT / "scripts" / "run_glue.py"), *flags]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=200, check=False)


def test_model_and_data_come_from_the_hub_and_later_from_the_cache(tmp_path):
    home = str(tmp_path / "home")
    with hub(repositories(tmp_path)) as server:
        online = run_script(tmp_path / "online", HF_HOME=home, HF_ENDPOINT=server.url, HF_HUB_OFFLINE="0")
    assert online.returncode == 0, online.stderr
    asked = "\n".join(server.requests)
    assert "GET /bert-base-uncased/resolve/" in asked
    assert "GET /datasets/nyu-mll/glue/resolve/" in asked
    offline = run_script(tmp_path / "offline", HF_HOME=home, HF_ENDPOINT=server.url, HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
    for file in ("MRPC.tsv", "model.safetensors"):
        assert (tmp_path / "online" / file).read_bytes() == (tmp_path / "offline" / file).read_bytes()
    results = json.loads((tmp_path / "offline" / "all_results.json").read_text())
    assert {"eval_f1", "eval_accuracy", "eval_combined_score", "eval_ece"} <= set(results)
    card = metadata_load(tmp_path / "online" / "README.md")
    assert (card["base_model"], card["datasets"]) == ("bert-base-uncased", ["nyu-mll/glue"])
    place = card["model-index"][0]["results"][0]["dataset"]
    assert place == {"name": "GLUE MRPC", "type": "nyu-mll/glue", "config": "mrpc", "split": "validation"}
    (entry,) = yaml.safe_load((tmp_path / "online" / ".eval_results" / "logitmix-nyu-mll-glue.yaml").read_text())
    assert entry["dataset"] == {"id": "nyu-mll/glue", "task_id": "mrpc"}
    assert entry["value"] == results["eval_combined_score"]
