# SPDX-License-Identifier: Apache-2.0
"""Short trainings that push, and what they saved, for the tests of publishing."""

from pathlib import Path

import samples
import tiny
from hub_server import User
from transformers import AutoTokenizer, TrainerCallback

from logitmix_nlp.publishing.hub.retries import RetryPolicy

TOKEN = "hf_" + "Ab1" * 11 + "z"
READ_TOKEN = "hf_" + "Cd2" * 11 + "y"
OTHER_TOKEN = "hf_" + "Ef3" * 11 + "x"
USERS = {TOKEN: User("me"), READ_TOKEN: User("me", "read"), OTHER_TOKEN: User("other")}
POLICY = RetryPolicy(attempts=4, first_wait=0.002, longest_wait=0.004, timeout=20.0)
MODEL_FILES = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "training_args.json"}


class Keeper(TrainerCallback):
    """Keep the weights of every save, and call a function after some of them."""

    def __init__(self, after=None):
        self.weights: dict[int, bytes] = {}
        self.after = after or {}

    def on_save(self, args, state, control, **kwargs):
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / "model.safetensors"
        self.weights[state.global_step] = path.read_bytes()
        self.after.get(state.global_step, lambda: None)()


def trainer(folder, keeper=None, **overrides):
    """A trainer of 6 steps that saves every second and pushes to `me/tiny`."""
    settings = {
        "hub_model_id": "me/tiny",
        "hub_token": TOKEN,
        "push_to_hub": True,
        "hub_strategy": "every_save",
        "save_strategy": "steps",
        "save_steps": 2,
        "max_steps": 6,
        "mix_method": "vanilla",
        "logging_steps": 50,
    }
    model_folder = folder.parent / "base"
    tokenizer = AutoTokenizer.from_pretrained(samples.write_model(model_folder))
    made = tiny.trainer(folder, tiny.rows(24), tiny.bert(layers=1), **{**settings, **overrides})
    made.processing_class = tokenizer
    made.add_callback(keeper or Keeper())
    return made


def saved_model(folder: Path) -> Path:
    """Folder of a model that is ready to be pushed, with things that must stay."""
    samples.write_model(folder)
    (folder / "training_args.json").write_text("{}")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    (folder / "optimizer.pt").write_bytes(b"state")
    (folder / "data.csv").write_text("text,label\n")
    return folder


def by_step(repository) -> dict[int, bytes]:
    """Weights at the root of every commit that names a step, by step."""
    found = {}
    for commit in repository.commits:
        if commit.title.startswith("Training in progress, step ") and not commit.title.endswith("checkpoint"):
            found[int(commit.title.split()[4].rstrip(","))] = commit.files["model.safetensors"]
    return found


def local(folder: Path, names) -> dict[str, bytes]:
    """Content of files by name."""
    return {name: (Path(folder) / name).read_bytes() for name in names}
