# SPDX-License-Identifier: Apache-2.0
"""What trainings push, over HTTP: which files, of which step, byte for byte."""

from threading import Event

import pytest
import tiny
import torch
from hub_runs import MODEL_FILES, TOKEN, Keeper, by_step, local, trainer
from huggingface_hub import snapshot_download
from transformers import AutoModelForSequenceClassification

from logitmix_nlp.publishing.trainer import PublishingMixin

STRATEGIES = ("end", "every_save", "checkpoint", "all_checkpoints")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_pushes_what_it_says(server, tmp_path, strategy):
    keeper = Keeper()
    run = trainer(tmp_path / "out", keeper, hub_strategy=strategy)
    run.train()
    commit = run.push_to_hub()
    repository = server.repository("me/tiny")
    pushed = repository.files
    assert by_step(repository) == ({} if strategy == "end" else keeper.weights)
    assert list(keeper.weights) == [2, 4, 6]
    root = {name for name in pushed if "/" not in name} - {".gitattributes"}
    assert root == MODEL_FILES | {"README.md"}
    assert {name: pushed[name] for name in root} == local(tmp_path / "out", root)
    assert {name.partition("/")[0] for name in pushed if "/" in name} == {
        "end": set(),
        "every_save": set(),
        "checkpoint": {"last-checkpoint"},
        "all_checkpoints": {"checkpoint-2", "checkpoint-4", "checkpoint-6"},
    }[strategy]
    for step, place in ((6, "last-checkpoint"), (2, "checkpoint-2"), (4, "checkpoint-4")):
        inside = {name.partition("/")[2]: data for name, data in pushed.items() if name.startswith(f"{place}/")}
        if inside:
            assert inside == local(tmp_path / "out" / f"checkpoint-{step}", MODEL_FILES)
    assert commit.oid == repository.commits[-1].oid
    assert not (tmp_path / "out" / "unpushed").exists()


def test_what_is_loaded_back_gives_the_same_logits(server, tmp_path):
    run = trainer(tmp_path / "out")
    run.train()
    run.push_to_hub()
    folder = snapshot_download("me/tiny", cache_dir=tmp_path / "cache", token=TOKEN)
    loaded = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for name, value in run.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    ids = torch.arange(1, 9)[None]
    kept = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=ids).logits, kept(input_ids=ids).logits)


def test_saves_wait_for_a_slow_hub_and_are_copies(server, tmp_path):
    free = Event()
    server.fail("/commit/", until=free)
    keeper = Keeper()
    run = trainer(tmp_path / "out", keeper, save_steps=1, save_total_limit=1)
    run.waiting_saves = 6

    def all_saved():
        assert len(by_step(server.repository("me/tiny"))) == 0
        free.set()

    def overwrite():
        (tmp_path / "out/checkpoint-4/model.safetensors").write_bytes(b"in place, as a second training would")

    keeper.after = {4: overwrite, 6: all_saved}
    run.train()
    assert list(keeper.weights) == [1, 2, 3, 4, 5, 6]
    assert by_step(server.repository("me/tiny")) == keeper.weights
    titles = [commit.title for commit in server.repository("me/tiny").commits[1:]]
    assert titles == [f"Training in progress, step {step}" for step in range(1, 7)]


def test_saves_of_epochs_name_their_step_too(server, tmp_path):
    run = trainer(tmp_path / "out", save_strategy="epoch", max_steps=-1, num_train_epochs=2)
    run.train()
    titles = [commit.title for commit in server.repository("me/tiny").commits[1:]]
    assert titles == ["Training in progress, step 6, epoch 1", "Training in progress, step 12, epoch 2"]


def test_the_last_push_is_the_best_model(server, tmp_path):
    keeper = Keeper()
    run = trainer(
        tmp_path / "out",
        keeper,
        eval_strategy="steps",
        eval_steps=2,
        eval_dataset=tiny.rows(8, seed=3),
        load_best_model_at_end=True,
        learning_rate=1.0,
    )
    run.train()
    run.push_to_hub()
    best = keeper.weights[run.state.best_global_step]
    assert run.state.best_global_step < 6
    assert server.repository("me/tiny").files["model.safetensors"] == best


def test_without_saves_only_the_end_is_pushed(server, tmp_path):
    run = trainer(tmp_path / "out", save_strategy="no")
    run.train()
    assert len(server.repository("me/tiny").commits) == 1
    run.save_model()
    assert [commit.title for commit in server.repository("me/tiny").commits[1:]] == ["Model save"]


def test_a_resumed_training_pushes_on_and_keeps_the_files_of_others(server, tmp_path):
    run = trainer(tmp_path / "out", max_steps=4)
    server.repository("me/tiny").add("main", "notes", {**server.repository("me/tiny").files, "notes.txt": b"mine"})
    run.train()
    keeper = Keeper()
    trainer(tmp_path / "out", keeper).train(resume_from_checkpoint=True)
    repository = server.repository("me/tiny")
    assert list(keeper.weights) == [6]
    assert by_step(repository)[6] == keeper.weights[6]
    assert repository.files["notes.txt"] == b"mine"


def test_other_processes_do_not_push(server, tmp_path, monkeypatch):
    monkeypatch.setattr(PublishingMixin, "is_world_process_zero", lambda self: False, raising=False)
    run = trainer(tmp_path / "out", hub_strategy="all_checkpoints")
    (tmp_path / "out" / "unpushed" / "checkpoint-2").mkdir(parents=True)
    run.train()
    run.save_model()
    assert run.push_to_hub() is None
    assert server.requests == []
    assert (tmp_path / "out" / "unpushed" / "checkpoint-2").is_dir()


def test_a_push_in_the_background_has_a_future(server, tmp_path):
    run = trainer(tmp_path / "out", hub_strategy="end", push_to_hub=False)
    run.train()
    commit = run.push_to_hub("by hand", blocking=False).result(timeout=60)
    assert commit.oid == server.repository("me/tiny").commits[-1].oid
    assert server.repository("me/tiny").commits[-1].title == "by hand"


def test_a_branch_and_a_private_repository(server, tmp_path):
    run = trainer(tmp_path / "out", hub_revision="trial", hub_private_repo=True)
    run.train()
    repository = server.repository("me/tiny")
    assert repository.private
    assert len(repository.commits) == 1
    assert [commit.title for commit in repository.branches["trial"]][1:] == [
        f"Training in progress, step {step}" for step in (2, 4, 6)
    ]


def test_large_files_go_in_parts(server, tmp_path):
    server.store.part_size = 3000
    run = trainer(tmp_path / "out", hub_strategy="end")
    run.train()
    run.push_to_hub()
    assert server.repository("me/tiny").files["model.safetensors"] == (tmp_path / "out/model.safetensors").read_bytes()
    parts = [request for request in server.requests if request.startswith("PUT /_lfs/upload/")]
    assert len(parts) == -(-(tmp_path / "out/model.safetensors").stat().st_size // 3000)
