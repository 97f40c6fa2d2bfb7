# SPDX-License-Identifier: Apache-2.0
"""`python -m logitmix_nlp push`: exit status, messages, and what it refuses."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import card_runs
import pytest
import transformers
from hub_runs import POLICY, READ_TOKEN, TOKEN, local, saved_model
from huggingface_hub import constants, snapshot_download
from safetensors.torch import save_file

from logitmix_nlp.commands.push import main, outdated_card
from logitmix_nlp.publishing.card import write_card
from logitmix_nlp.publishing.hub.white_list import PROCESSOR_FILES, publishable_files

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path):
    return saved_model(tmp_path / "model")


@pytest.fixture(autouse=True)
def _logged_in(monkeypatch, point_to):
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def push(folder, *flags):
    return main([str(folder), "--repo_id", "me/tiny", *flags], POLICY)


def test_a_folder_is_pushed_once(server, folder, capsys):
    assert push(folder, "--commit_message", "First") == 0
    assert push(folder) == 0
    repository = server.repository("me/tiny")
    assert [commit.title for commit in repository.commits] == ["initial commit", "First"]
    names = publishable_files(folder)
    assert {name: repository.files[name] for name in names} == local(folder, names)
    assert set(repository.files) == {*names, ".gitattributes"}
    told = capsys.readouterr().out
    assert f"Pushed {len(names)} files (2 others stay here)" in told
    assert told.splitlines()[-1] == f"{server.url}/me/tiny"


def test_flags(server, folder, capsys):
    assert push(folder, "--private", "--revision", "v2") == 0
    assert server.repository("me/tiny").private
    assert "model.safetensors" in server.repository("me/tiny").branches["v2"][-1].files
    assert push(folder, "--create_pr") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{server.url}/me/tiny/discussions/1"
    assert main([str(folder), "--repo_id", "mine"], POLICY) == 0
    assert "model.safetensors" in server.repository("me/mine").files


def test_a_failed_push_says_why_and_is_completed_by_repeating_it(server, folder, capsys, monkeypatch):
    server.fail("/commit/", status=503)
    assert push(folder) == 1
    told = capsys.readouterr().err
    assert "503 Service Unavailable from POST /api/models/me/tiny/commit/main" in told
    server.mend()
    assert push(folder) == 0
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    (folder / "README.md").write_text("---\nlicense: mit\n---\nnew")
    assert push(folder) == 1
    assert "use a token that may write" in capsys.readouterr().err


def break_index(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../secrets.safetensors"}}')


def break_shards(folder):
    save_file({}, folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors").unlink()
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


DAMAGES = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    "broken config": (lambda folder: (folder / "config.json").write_text("{"), "config.json is damaged"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no weights in the safetensors format"),
    "half weights": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9]),
        "model.safetensors is missing or damaged",
    ),
    "index to elsewhere": (break_index, "names files that are no shards of this folder"),
    "a shard is missing": (break_shards, "model-00002-of-00002.safetensors is missing or damaged"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_folder_that_cannot_be_loaded_is_refused(server, folder, capsys, name):
    damage, message = DAMAGES[name]
    damage(folder)
    assert push(folder) == 2
    assert message in capsys.readouterr().err
    assert server.requests == []


def test_what_the_user_gave_wrong(server, folder, capsys, monkeypatch):
    assert push(folder / "nowhere") == 2
    assert "no such folder" in capsys.readouterr().err
    assert main([str(folder), "--repo_id", "a b"]) == 2
    assert "a b" in capsys.readouterr().err
    assert push(folder, "--create_pr", "--revision", "v2") == 2
    assert "leave --revision out" in capsys.readouterr().err
    for flag in (f"--token={READ_TOKEN}", f"--hub_token={READ_TOKEN}"):
        assert push(folder, flag) == 2
        told = capsys.readouterr().err
        assert "HF_TOKEN" in told
        assert READ_TOKEN not in told
    monkeypatch.setenv("HF_TOKEN", TOKEN + "\u00e9")
    assert push(folder) == 2
    assert "characters outside ASCII" in capsys.readouterr().err
    assert server.requests == []


def test_only_what_is_on_the_white_list(folder):
    wanted = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    wanted |= {"training_args.json", "all_results.json", "eval_results.json", "result.json"}
    wanted |= {".eval_results/mrpc.yaml", "figures/reliability.png"}
    others = {"training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "log.txt"}
    others |= {"eval_predictions.parquet", "MRPC.tsv", "run.json", "dump.safetensors", "pytorch_model.bin", ".env"}
    others |= {"checkpoint-2/model.safetensors", "figures/notes.txt", "runs/events.out.tfevents.1", "data.csv"}
    for name in wanted | others:
        (folder / name).parent.mkdir(exist_ok=True)
        if not (folder / name).exists():
            (folder / name).write_text("{}")
    assert set(publishable_files(folder)) == wanted


def link_to_passwd(folder):
    (folder / "figures").mkdir()
    (folder / "figures/x.png").symlink_to("/etc/passwd")


def link_a_folder(folder):
    (folder.parent / "pictures").mkdir()
    (folder.parent / "pictures" / "me.png").write_bytes(b"private")
    (folder / "figures").symlink_to(folder.parent / "pictures")


def link_what_stays(folder):
    (folder / "eval_results.json").symlink_to("data.csv")


def link_weights_elsewhere(folder):
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    (folder / "model.safetensors").symlink_to(folder.parent / "model.safetensors")


def link_to_blobs_of_no_cache(folder):
    blobs = folder.parent.parent / "blobs"
    blobs.mkdir(exist_ok=True)
    (blobs / "0").write_bytes(b"private")
    (folder / "all_results.json").symlink_to(blobs / "0")


LINKS = {
    "all_results.json": (link_to_blobs_of_no_cache, "blobs/0"),
    "figures/x.png": (link_to_passwd, "/etc/passwd"),
    "figures/me.png": (link_a_folder, "pictures/me.png"),
    "eval_results.json": (link_what_stays, "data.csv"),
    "model.safetensors": (link_weights_elsewhere, "model.safetensors"),
}


def test_all_that_tokenizers_and_processors_save_is_on_the_white_list():
    root = Path(transformers.__file__).parent
    bases = (root / "tokenization_utils_base.py", root / "utils" / "__init__.py", root / "utils" / "hub.py")
    sources = "\n".join(p.read_text("utf-8") for p in (*bases, *root.glob("models/*/tokenization_*.py")))
    assert set(PROCESSOR_FILES) <= set(re.findall(r'"([^"\n]+)"', sources))
    vocabularies = " ".join(re.findall(r"VOCAB_FILES_NAMES = \{.*?\}", sources, re.DOTALL))
    assert set(re.findall(r':\s*"([^"]+)"', vocabularies)) <= set(PROCESSOR_FILES)


@pytest.mark.parametrize("name", LINKS)
def test_links_to_what_is_not_published_are_refused(server, folder, capsys, name):
    make, target = LINKS[name]
    make(folder)
    assert push(folder) == 2
    (told,) = capsys.readouterr().err.splitlines()[-1:]
    assert told.startswith(f"error: {folder / name} is a link to /")
    assert f"{target}, which is not to be published: replace it by a copy, or delete it." in told
    assert server.requests == []


def test_links_within_the_folder_and_to_it_are_followed(server, folder, tmp_path):
    (folder / "checkpoint-2").mkdir()
    (folder / "model.safetensors").rename(folder / "checkpoint-2" / "model.safetensors")
    (folder / "model.safetensors").symlink_to("checkpoint-2/model.safetensors")
    (folder / "figures").mkdir()
    (folder / "figures" / "b.png").write_bytes(b"picture")
    (folder / "figures" / "a.png").symlink_to("b.png")
    (tmp_path / "latest").symlink_to(folder)
    assert push(tmp_path / "latest") == 0
    files = server.repository("me/tiny").files
    assert files["model.safetensors"] == (folder / "checkpoint-2" / "model.safetensors").read_bytes()
    assert files["figures/a.png"] == b"picture"


def test_a_folder_of_the_cache_is_pushed(server, folder, tmp_path):
    assert push(folder) == 0
    cached = Path(snapshot_download("me/tiny", cache_dir=tmp_path / "cache"))
    assert (cached / "model.safetensors").is_symlink()
    assert main([str(cached), "--repo_id", "me/again"], POLICY) == 0
    names = publishable_files(folder)
    assert local(folder, names).items() <= server.repository("me/again").files.items()


def test_a_folder_in_the_repository(server, folder, capsys):
    assert push(folder, "--path_in_repo", "checkpoint-2/") == 0
    names = publishable_files(folder)
    files = server.repository("me/tiny").files
    assert set(files) == {*(f"checkpoint-2/{name}" for name in names), ".gitattributes"}
    for place in ("", ".", "/x", "../x", "a/../b"):
        assert push(folder, "--path_in_repo", place) == 2
        assert "a folder inside the repository" in capsys.readouterr().err


@pytest.mark.parametrize("token", [TOKEN + "\n", ""])
def test_a_token_is_read_as_huggingface_hub_reads_it(server, folder, monkeypatch, tmp_path, token):
    (tmp_path / "login").write_text(TOKEN)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "login"))
    monkeypatch.setenv("HF_TOKEN", token)
    assert push(folder) == 0


OLD_CARD = """---
tags: [logitmix-nlp]
model-index:
- name: tiny
  results:
  - task: {type: text-classification}
    dataset: {name: d, type: local-data}
    metrics:
    - {type: accuracy, value: 0.5, args: {temperature: 1.5}}
  - task: {type: text-generation}
    dataset: {name: d, type: d}
    metrics:
    - {type: rouge, value: 0.5, args: {temperature: 0.7}}
    source: {name: somebody, url: "https://example.org"}
---
A temperature of 3.0000 was tried, too.
"""


@pytest.mark.parametrize("card", [1.5, None, OLD_CARD], ids=["calibrated", "plain", "of an older version"])
@pytest.mark.parametrize("stored", [1.5, 1.6, None])
def test_a_card_whose_header_names_another_temperature_than_the_model_is_outdated(folder, card, stored):
    path, config = folder / "README.md", json.loads((folder / "config.json").read_text())
    path.unlink()
    if card is OLD_CARD:
        path.write_text(card)
    else:
        write_card(folder, facts=card_runs.facts(temperature=card))
        path.write_text(path.read_text() + "\nA temperature of 3.0000 was tried, too.\n")
    (folder / "config.json").write_text(json.dumps({**config, "calibration_temperature": stored}))
    outdated = outdated_card(folder)
    assert (outdated is None) == (stored == (1.5 if card is OLD_CARD else card))
    assert outdated is None or "have the card written anew" in outdated


def test_cards_of_others_and_damaged_ones_are_not_checked(server, folder, capsys):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "calibration_temperature": 1.5}))
    for content in (
        b"---\nlicense: mit\n---\n",
        b"",
        b"---\n- a\n---\n",
        b"---\ntags: [\n---\n",
        b"---\ntags: 3\n---\n",
        b"\xff",
        None,
    ):
        (folder / "README.md").write_bytes(content) if content is not None else (folder / "README.md").unlink()
        assert outdated_card(folder) is None
    write_card(folder, facts=card_runs.facts())
    assert push(folder) == 0
    assert "config.json has calibration_temperature 1.5, but the header of" in capsys.readouterr().err


LOAD = """
import network_guard; network_guard.install()
import sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
texts = ["A cat sat.", "The dog ran."]
answers = []
for name in ("me/tiny", sys.argv[1]):
    model = AutoModelForSequenceClassification.from_pretrained(name)
    tokens = AutoTokenizer.from_pretrained(name)(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        answers.append([model(**tokens).logits.tolist(), pipeline("text-classification", name)(texts)])
assert answers[0] == answers[1], answers
assert network_guard.ATTEMPTS == []
"""


def test_the_command_line_and_loading_back_in_processes_of_their_own(server, folder, tmp_path):
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN}
    env |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "logitmix_nlp", "push", str(folder), "--repo_id", "me/tiny", "--private"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{server.url}/me/tiny"
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder)], env=env, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
