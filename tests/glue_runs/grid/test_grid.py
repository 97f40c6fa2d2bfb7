# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace

import pytest
import samples

from glue_runs.grid import command as grid_command
from glue_runs.grid import worker
from glue_runs.grid.plan import GridArguments, PlannedRun, plan_runs, write_grid, write_plan
from glue_runs.report import command as report
from glue_runs.runs.record import without_secrets
from glue_runs.runs.results import GRID_NAME, RunResult, is_finished, read_grid, read_result, write_result
from glue_runs.runs.texts import Texts
from logitmix_nlp import LogitMixTrainingArguments


def arguments(folder, **given):
    values = {"model": "bert-base-uncased", "output_dir": str(folder), "tasks": ["cola", "rte"], "seeds": [1, 2]}
    return GridArguments(**{**values, **given})


def finish(run, **config):
    result = RunResult(run.task, run.method, run.seed, {"eval_accuracy": 0.5}, {**run.flags, **config}, [], {}, 1.0)
    run.folder.mkdir(parents=True, exist_ok=True)
    write_result(run.folder, result)


def test_every_task_with_every_method_and_seed_seed_by_seed(tmp_path):
    runs = plan_runs(arguments(tmp_path))
    assert len(runs) == 2 * 3 * 2
    assert [run.seed for run in runs] == [1] * 6 + [2] * 6
    assert len({run.folder for run in runs}) == len(runs)
    assert len(plan_runs(GridArguments(model="bert-base-uncased", output_dir=str(tmp_path)))) == 8 * 3 * 5
    assert runs[2].folder == tmp_path / "cola" / "logitmix" / "seed-1"
    assert [(run.task, run.method) for run in runs[:6]] == [
        (task, method) for task in ("cola", "rte") for method in ("vanilla", "mixup", "logitmix")
    ]


def test_files_of_ones_own_are_a_task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("train", "dev"):
        samples.write_text(tmp_path / f"{name}.csv", "text,label\na,1\nb,0\n")
    flags = ["--train_file", "train.csv", "--validation_file", "dev.csv"]
    runs = plan_runs(arguments(tmp_path / "out", tasks=None, seeds=[1]), flags)
    assert [(run.task, run.method) for run in runs] == [("own", name) for name in ("vanilla", "mixup", "logitmix")]
    assert runs[0].folder == tmp_path / "out" / "own" / "vanilla" / "seed-1"
    assert runs[0].flags["train_file"] == str(tmp_path / "train.csv")
    assert not {"task_name", "data_dir"} & set(runs[0].flags)
    write_grid(arguments(tmp_path / "out", tasks=None), runs, ["python"])
    assert read_grid(tmp_path / "out" / "grid.json")["tasks"] == ["own"]
    with pytest.raises(ValueError, match="--train_file needs --validation_file, or --do_eval false"):
        plan_runs(arguments(tmp_path, tasks=None), flags[:2])
    for given in ({"tasks": ["cola"]}, {"tasks": None, "data_dir": "glue"}):
        with pytest.raises(ValueError, match=r"--train_file is data of your own, --(tasks|data_dir) of GLUE"):
            plan_runs(arguments(tmp_path, **given), flags)


def test_plans_are_commands_of_run_glue(tmp_path):
    run = plan_runs(
        arguments(tmp_path, methods=["logitmix/mix_site=layer:2"]), ["--max_steps", "60", "--bf16", "--use_cpu"]
    )[0]
    write_plan(run)
    model, data, output, args = Texts.parse([str(run.folder / "flags.json")])
    assert (model.model_name_or_path, data.task_name, data.max_seq_length) == ("bert-base-uncased", "cola", 128)
    assert (args.mix_site, args.mix_alpha, args.max_steps, args.bf16, args.seed) == ("layer:2", 3.0, 60, True, 1)
    assert (args.per_device_train_batch_size, args.learning_rate) == (8, 2e-5)
    assert (output.report_as, output.keep_weights, output.save_predictions) == (
        "logitmix/mix_site=layer:2",
        False,
        True,
    )


def test_the_machine_that_plans_needs_no_gpu(tmp_path):
    run = plan_runs(arguments(tmp_path), ["--bf16", "true", "--tf32", "true"])[0]
    assert (run.flags["bf16"], run.flags["tf32"]) == (True, True)


def test_equal_compute_adds_a_baseline_behind_vanilla(tmp_path):
    args = arguments(tmp_path, tasks=["cola"], seeds=[1], equal_compute=True)
    runs = plan_runs(args, ["--num_train_epochs", "2"])
    assert [run.method for run in runs] == ["vanilla", "vanilla/num_train_epochs=4", "mixup", "logitmix"]
    assert runs[1].flags["num_train_epochs"] == 4.0
    write_grid(args, runs, ["python"])
    labels = json.loads((tmp_path / "grid.json").read_text())["labels"]
    assert labels == {"vanilla/num_train_epochs=4": "vanilla, equal compute"}


def test_a_run_is_finished_when_its_result_is_of_the_same_flags(tmp_path):
    run = plan_runs(arguments(tmp_path))[0]
    assert not run.finished
    finish(run)
    assert run.finished
    assert not plan_runs(arguments(tmp_path), ["--max_steps", "5"])[0].finished
    assert not plan_runs(arguments(tmp_path, model="other"))[0].finished


def test_the_grid_mixes_where_the_paper_does_unless_told_otherwise(tmp_path):
    runs = {run.method: run for run in plan_runs(arguments(tmp_path, methods=["mixup", "logitmix", "span"]))}
    assert LogitMixTrainingArguments(str(tmp_path)).mix_site == "input|embeddings"
    assert runs["logitmix"].flags["mix_site"] == "input|layer:-1"
    assert "mix_site" not in runs["mixup"].flags
    assert "mix_site" not in runs["span"].flags
    own = plan_runs(arguments(tmp_path, methods=["logitmix", "logitmix/mix_site=layer:2"]), ["--mix_site", "layer:1"])
    assert [run.flags["mix_site"] for run in own[:2]] == ["layer:1", "layer:2"]


def test_a_result_that_names_no_site_is_of_the_site_that_logitmix_had(tmp_path):
    (run,) = plan_runs(arguments(tmp_path, tasks=["cola"], methods=["logitmix"], seeds=[1]))
    finish(run)
    path = run.folder / "result.json"
    result = json.loads(path.read_text())
    del result["config"]["mix_site"]
    path.write_text(json.dumps(result))
    assert run.finished
    assert read_result(run.folder).config["mix_site"] == "input|layer:-1"
    assert read_result(run.folder).command == ["--mix_site=input|layer:-1"]
    flags = {name: value for name, value in run.flags.items() if name != "mix_site"}
    assert not is_finished(run.folder, flags)  # a script whose default is now another site


def test_passwords_in_addresses_are_not_written_and_the_run_is_the_same(tmp_path):
    flags = ["--run_name", "https://zoe9:q7x@host/p", "--config_name", "https://zoe9:q7x@host/c"]
    run = plan_runs(arguments(tmp_path), flags)[0]
    finish(run)
    assert "q7x" not in (run.folder / "result.json").read_text()
    assert plan_runs(arguments(tmp_path), flags)[0].finished
    write_grid(arguments(tmp_path), [run], ["python", *flags])
    assert "q7x" not in (tmp_path / "grid.json").read_text()
    assert without_secrets({"token": "q7x", "config_name": flags[-1]}) == {"config_name": "https://host/c"}


def test_a_run_that_did_more_is_finished_and_one_that_did_less_is_not(tmp_path):
    run = plan_runs(arguments(tmp_path))[0]
    for more in (["--do_predict", "true"], ["--keep_weights", "true"]):
        wanted = plan_runs(arguments(tmp_path), more)[0]
        finish(run)
        assert run.finished
        assert not wanted.finished
        finish(wanted)
        assert run.finished
        assert wanted.finished


def test_flags_that_change_no_figure_do_not_make_a_run_unfinished(tmp_path):
    run = plan_runs(arguments(tmp_path))[0]
    finish(run)
    (tmp_path / "moved").symlink_to(tmp_path)
    same = ["--logging_steps", "7", "--dataloader_num_workers", "0", "--save_steps", "9"]
    assert plan_runs(arguments(tmp_path / "moved"), same)[0].finished


def test_a_folder_is_the_same_by_whatever_path(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    finish(plan_runs(arguments(tmp_path, data_dir=str(tmp_path / "data")))[0])
    monkeypatch.chdir(tmp_path)
    for name in ("data", "data/", "link"):
        assert plan_runs(arguments(tmp_path, data_dir=name))[0].finished
    assert not plan_runs(arguments(tmp_path, data_dir="elsewhere"))[0].finished


def test_a_run_with_a_broken_result_is_not_finished(tmp_path):
    run = plan_runs(arguments(tmp_path))[0]
    finish(run)
    for text in ('{"task": "cola"', "", "[]"):
        (run.folder / "result.json").write_text(text)
        assert not run.finished
        with pytest.raises(ValueError, match=r"result\.json: not the result of a run"):
            read_result(run.folder)


def test_a_process_leaves_a_run_that_another_finished_alone(tmp_path):
    run = plan_runs(arguments(tmp_path))[0]
    finish(run)
    write_plan(run)
    assert worker.main(run.folder / "flags.json") == 0
    assert not (run.folder / "run.json").exists()


def test_results_are_read_as_they_were_written(tmp_path):
    run = plan_runs(arguments(tmp_path))[0]
    finish(run)
    found = read_result(run.folder)
    assert found == RunResult("cola", "vanilla", 1, {"eval_accuracy": 0.5}, run.flags, [], {}, 1.0, folder=run.folder)
    assert replace(found, folder=None).folder is None


def test_the_grid_file_keeps_what_earlier_grids_said(tmp_path):
    for methods in (["vanilla", "mixup"], ["vanilla", "logitmix"]):
        args = arguments(tmp_path, methods=methods)
        write_grid(args, plan_runs(args), ["python", *methods])
    found = json.loads((tmp_path / "grid.json").read_text())
    assert found["methods"] == ["vanilla", "mixup", "logitmix"]
    assert found["commands"] == [["python", "vanilla", "mixup"], ["python", "vanilla", "logitmix"]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tasks": ["colla"]}, "Unknown GLUE task 'colla'"),
        ({"tasks": ["CoLA", "cola"]}, "--tasks takes one value or several different ones"),
        ({"tasks": ["ax"]}, "GLUE task 'ax' has no split 'train'"),
        ({"tasks": []}, "--tasks takes one value or several"),
        ({"methods": ["mixup", "mixup"]}, "--methods takes one value or several different ones"),
        ({"seeds": [1, 1]}, "--seeds takes"),
        ({"executor": "slurm"}, "--executor must be local or ray, got 'slurm'"),
        ({"workers": 0}, "--workers and --cpus_per_run must be at least 1"),
        ({"gpus_per_run": -1.0}, "--gpus_per_run at least 0"),
        ({"gpus_per_run": float("inf")}, "--gpus_per_run at least 0"),
        ({"cpus_per_run": 0}, "--workers and --cpus_per_run must be at least 1"),
    ],
)
def test_grids_that_make_no_sense_are_refused(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        arguments(tmp_path, **given)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (["--seed", "3"], "--seed is set by the grid"),
        (["--mix_method", "mixup"], "--mix_method is set by the grid; use --tasks, --methods"),
        (["--max_stepps", "3"], "unknown argument '--max_stepps', did you mean 'max_steps'"),
        (["--token", "hf_secret"], "--token would be written to disk"),
        (["--hub_token", "hf_secret"], "--hub_token would be written to disk"),
        (["--mix_alpha", "0"], "mix_alpha must be a finite number above 0"),
    ],
)
def test_flags_that_do_not_fit_a_grid_are_refused(tmp_path, rest, message):
    with pytest.raises(ValueError, match=message):
        plan_runs(arguments(tmp_path), rest)


@pytest.fixture
def outcomes(monkeypatch):
    """Let runs end as a dictionary of task names says: finished (None) or failed."""
    problems = {}

    def execute(runs, args):
        for run in runs:
            if problems.get(run.task) is KeyboardInterrupt:
                raise KeyboardInterrupt
            if run.task not in problems:
                finish(run)
            yield None
            yield run, problems.get(run.task)

    monkeypatch.setattr(grid_command, "execute", execute)
    return problems


def command(folder, *rest):
    return grid_command.main(
        ["--model=m", f"--output_dir={folder}", "--tasks", "cola", "rte", "--methods", "mixup", "--seeds", "1", *rest]
    )


def test_a_grid_goes_on_past_failed_runs_and_lists_them(tmp_path, outcomes, capsys):
    outcomes["cola"] = "error: no such file"
    assert command(tmp_path) == 1
    error = capsys.readouterr().err
    assert "[1/2] cola mixup seed 1: FAILED: error: no such file" in error
    assert "[2/2] rte mixup seed 1: accuracy 0.5000" in error
    assert f"failed: cola mixup seed 1: error: no such file (log: {tmp_path}/cola/mixup/seed-1/log.txt)" in error
    del outcomes["cola"]
    assert command(tmp_path) == 0
    error = capsys.readouterr().err
    assert "1 of 2 runs are finished already and are kept" in error
    assert "[2/2] cola" in error
    assert "rte mixup seed 1:" not in error


def test_ctrl_c_ends_a_grid_with_130(tmp_path, outcomes, capsys):
    outcomes["rte"] = KeyboardInterrupt
    assert command(tmp_path) == 130
    assert "repeat the command to go on" in capsys.readouterr().err
    assert [run.finished for run in plan_runs(arguments(tmp_path, model="m", methods=["mixup"], seeds=[1]))] == [
        True,
        False,
    ]


def test_a_run_without_a_result_has_failed(tmp_path, outcomes, capsys, monkeypatch):
    monkeypatch.setattr(PlannedRun, "finished", False)
    assert command(tmp_path) == 1
    assert "it ended without a result" in capsys.readouterr().err


def test_flags_of_single_runs_are_not_taken_for_those_of_the_grid(tmp_path, capsys):
    assert command(tmp_path, "--seed", "3") == 2
    assert "--seed is set by the grid" in capsys.readouterr().err


def test_task_names_are_those_of_the_records(tmp_path):
    assert plan_runs(arguments(tmp_path, tasks=["CoLA"]))[0].task == "cola"


def test_wrong_flags_are_one_line(tmp_path, capsys):
    assert command(tmp_path, "--max_stepps=3") == 2
    assert capsys.readouterr().err.startswith("error: unknown argument '--max_stepps=3'")
    assert not (tmp_path / GRID_NAME).exists()


@pytest.mark.parametrize("kind", ["classes", "scores"])
def test_a_grid_of_ones_own_files_has_a_report(tmp_path, capsys, kind):
    words = ["the cat sat", "a dog ran", "the dog sat", "a cat ran"] * 3
    labels = [("cat" if "cat" in text else "dog") if kind == "classes" else len(text) / 10 for text in words]
    for name in ("train", "dev"):
        rows = "".join(f"{text},{label}\n" for text, label in zip(words, labels, strict=True))
        samples.write_text(tmp_path / f"{name}.csv", "text,label\n" + rows)
    model = samples.write_model(tmp_path / "model", num_labels=2 if kind == "classes" else 1)
    flags = ["--model", str(model), "--output_dir", str(tmp_path / "out"), "--methods", "vanilla", "--seeds", "1", "2"]
    flags += ["--train_file", str(tmp_path / "train.csv"), "--validation_file", str(tmp_path / "dev.csv")]
    flags += ["--max_steps", "2", "--max_seq_length", "16", "--use_cpu", "true", "--dataloader_pin_memory", "false"]
    assert grid_command.main(flags) == 0
    assert report.main([str(tmp_path / "out")]) == 0
    assert report.main([str(tmp_path / "out"), "--ensemble"]) == 0
    page = (tmp_path / "out" / "report.md").read_text()
    assert "| method | own data |" in page
    assert "| vanilla, 2 seeds averaged |" in page
    assert page.startswith("# Own data: ")
    assert next(line for line in page.splitlines() if line.startswith("- Data: ")).endswith("/train.csv")
    assert ("Brier" in page) is (kind == "classes")
    assert "Published" not in page
