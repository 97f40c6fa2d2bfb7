# SPDX-License-Identifier: Apache-2.0
"""What earlier processes of a training left in its folder: pushed, named or deleted, as the next one needs it."""

import pytest
from hub_runs import Keeper, saved_model, trainer

from logitmix_nlp.publishing.hub.push_queue import last_step, new_copy
from logitmix_nlp.publishing.trainer import push_or_explain


def copy_of(folder, name):
    """A copy that a killed process may have left."""
    return saved_model(folder / "unpushed" / name)


def pushed(server):
    """Folders of checkpoints on the Hub."""
    return {name.partition("/")[0] for name in server.repository("me/tiny").files if "/" in name}


@pytest.mark.parametrize("limit", [None, 2])
def test_a_finished_run_that_is_repeated_pushes_the_checkpoints_it_lacks(server, tmp_path, capsys, limit):
    settings = {"hub_strategy": "all_checkpoints", "save_total_limit": limit}
    run = trainer(tmp_path / "out", **settings)
    server.fail("/commit/", status=403, body=b"{}")
    run.train()
    assert not push_or_explain(run)
    assert capsys.readouterr().err.count("error: the checkpoint of step") == 3
    again = trainer(tmp_path / "out", **settings)
    assert not push_or_explain(again)
    assert capsys.readouterr().err.count("error: the checkpoint of step") == 3
    server.mend()
    server.requests.clear()
    last = trainer(tmp_path / "out", **settings)
    assert push_or_explain(last)
    assert server.requests.count("GET /api/models/me/tiny/revision/main") == 4  # each checkpoint once, and the end
    assert pushed(server) == {"checkpoint-2", "checkpoint-4", "checkpoint-6"}
    assert not (tmp_path / "out" / "unpushed").exists()
    assert server.repository("me/tiny").commits[-1].title == "End of training"


@pytest.mark.parametrize("strategy", ["every_save", "checkpoint", "end"])
def test_copies_that_later_saves_replace_are_deleted_and_others_named(server, tmp_path, caplog, strategy):
    trainer(tmp_path / "out", hub_strategy="end", max_steps=4).train()
    for name in ("step-2", "step-4", "checkpoint-4.partial", "checkpoint-2"):
        copy_of(tmp_path / "out", name)
    run = trainer(tmp_path / "out", hub_strategy=strategy)
    run.train(resume_from_checkpoint=True)
    assert push_or_explain(run)
    assert [path.name for path in (tmp_path / "out" / "unpushed").iterdir()] == ["checkpoint-2"]
    assert f"{tmp_path}/out/unpushed/checkpoint-2 is not on the Hub. To push it: python -m" in caplog.text
    assert "checkpoint-2" not in pushed(server)


def test_copies_of_another_training_are_not_pushed(server, tmp_path, caplog):
    for name in ("checkpoint-2", "checkpoint-60", "checkpoint-2.1"):
        copy_of(tmp_path / "out", name)
    keeper = Keeper()
    trainer(tmp_path / "out", keeper, hub_strategy="all_checkpoints").train()
    assert caplog.text.count("is deleted: this training does not resume it") == 3
    assert pushed(server) == {"checkpoint-2", "checkpoint-4", "checkpoint-6"}
    files = server.repository("me/tiny").files
    assert [files[f"checkpoint-{step}/model.safetensors"] for step in (2, 4, 6)] == list(keeper.weights.values())
    assert not (tmp_path / "out" / "unpushed").exists()


def test_only_what_a_run_goes_on_from_is_pushed_and_what_cannot_be_is_told(server, tmp_path, capsys):
    trainer(tmp_path / "out", hub_strategy="end").train()
    (tmp_path / "out" / "checkpoint-2" / "model.safetensors").write_bytes(b"damaged")
    copy_of(tmp_path / "out", "checkpoint-6")
    (tmp_path / "out" / "checkpoint-3").mkdir()  # half-written
    run = trainer(tmp_path / "out", hub_strategy="all_checkpoints", max_steps=5)
    run.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-4"))
    assert not push_or_explain(run)
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert [line.startswith("error: the checkpoint of step 2 is not on the Hub") for line in told] == [True]
    assert pushed(server) == {"checkpoint-4", "checkpoint-5"}


def test_steps_that_runs_go_on_from(tmp_path):
    assert last_step(str(tmp_path / "checkpoint-20"), tmp_path) == 20
    assert last_step(True, tmp_path) > 10**9
    for other in (None, False, str(tmp_path / "else" / "checkpoint-20"), str(tmp_path / "best")):
        assert last_step(other, tmp_path) is None


def test_copies_never_share_a_folder(tmp_path):
    for name in ("checkpoint-2", "checkpoint-2.1", "checkpoint-2.2"):
        assert new_copy(tmp_path, "checkpoint-2").name == name
        (tmp_path / name).mkdir()
