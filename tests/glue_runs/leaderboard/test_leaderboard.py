# SPDX-License-Identifier: Apache-2.0
import hashlib
import zipfile

import pytest
import samples

from glue_runs.leaderboard.command import build_submission, development_score, main
from glue_runs.runs.results import RunResult, write_result
from glue_runs.tasks.glue import GLUE_TASKS, get_task

TRAINED = [task.name for task in GLUE_TASKS.values() if task.trained_on is None]
FILES = [
    "AX.tsv", "CoLA.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "MRPC.tsv", "QNLI.tsv", "QQP.tsv", "RTE.tsv", "SST-2.tsv",
    "STS-B.tsv", "WNLI.tsv",
]  # fmt: skip
METRICS = {
    "cola": ["eval_matthews_correlation"],
    "mrpc": ["eval_combined_score"],
    "qqp": ["eval_combined_score"],
    "stsb": ["eval_combined_score"],
    "mnli": ["eval_matched_accuracy", "eval_mismatched_accuracy"],
}


def write_run(root, name, seed=0, score=0.5, method="logitmix", files=None, metrics=None):
    """A finished run as a grid leaves it: `result.json` and one prediction file per test split."""
    task, folder = get_task(name), root / name / method / str(seed)
    for split in task.splits:
        if split.submission and (files is None or split.submission in files):
            label = task.label_strings[seed % 2] if task.label_strings else f"{seed % 6}.000"
            rows = "".join(f"{index}\t{label}\n" for index in range(split.num_rows))
            samples.write_text(folder / split.submission, "index\tprediction\n" + rows)
    folder.mkdir(parents=True, exist_ok=True)
    metrics = metrics or dict.fromkeys(METRICS.get(name, ["eval_accuracy"]), score)
    command = ["python", "-m", "glue_runs.runs.run", "--task_name", name, "--output_dir", str(folder)]
    write_result(folder, RunResult(name, method, seed, metrics, {}, command, {}, 1.0))
    return folder


def seeds(choices):
    return {choice.file: choice.result and choice.result.seed for choice in choices}


def test_all_eleven_files_come_from_the_best_seeds(tmp_path):
    for place, name in enumerate(TRAINED):
        for seed in (1, 2):
            write_run(tmp_path / "runs", name, seed, score=0.7 if seed == place % 2 + 1 else 0.6)
    best = {get_task(name).prediction_files: place % 2 + 1 for place, name in enumerate(TRAINED)}
    choices = build_submission(tmp_path / "runs", tmp_path / "new" / "out.zip")
    assert [choice.file for choice in choices] == FILES
    assert seeds(choices) == {file: seed for pairs, seed in best.items() for _, file in pairs}
    assert all(choice.score == 0.7 for choice in choices)
    with zipfile.ZipFile(tmp_path / "new" / "out.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == FILES
        for choice in choices:
            assert archive.read(choice.file) == (choice.result.folder / choice.file).read_bytes()
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.zip"]


def test_the_same_runs_give_the_same_bytes(tmp_path):
    digests = set()
    for name in ("first", "second"):
        write_run(tmp_path / name, "wnli")
        write_run(tmp_path / name, "rte", seed=4)
        build_submission(tmp_path / name, tmp_path / f"{name}.zip", partial=True)
        digests.add(hashlib.sha256((tmp_path / f"{name}.zip").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_the_score_of_each_kind_of_task(tmp_path):
    def score(name, **metrics):
        return development_score(RunResult(name, "logitmix", 0, metrics, {}, ["run"], {}, 1.0, tmp_path))

    assert score("cola", eval_matthews_correlation=0.6, eval_ece=0.1) == 0.6
    assert score("mrpc", eval_accuracy=0.8, eval_f1=0.9, eval_combined_score=0.85) == 0.85
    assert score("stsb", eval_pearson=0.8, eval_spearmanr=0.9, eval_combined_score=0.85) == 0.85
    assert score("mnli", eval_matched_accuracy=0.75, eval_mismatched_accuracy=0.25) == 0.5
    with pytest.raises(ValueError, match="no eval_mismatched_accuracy; repeat it: run --do_eval"):
        score("mnli", eval_matched_accuracy=0.75)


def test_ties_go_to_the_smallest_seed_and_a_seed_can_be_asked_for(tmp_path):
    for seed in (10, 9, 11):
        write_run(tmp_path / "runs", "wnli", seed, score=0.5)
    out = tmp_path / "out.zip"
    assert seeds(build_submission(tmp_path / "runs", out, partial=True))["WNLI.tsv"] == 9
    assert seeds(build_submission(tmp_path / "runs", out, seed=11, partial=True))["WNLI.tsv"] == 11
    with pytest.raises(ValueError, match="runs, seed 3: there is no finished run of a GLUE task"):
        build_submission(tmp_path / "runs", out, seed=3, partial=True)


def test_the_files_of_mnli_come_from_one_run(tmp_path):
    write_run(tmp_path / "runs", "mnli", seed=1, score=0.9, files=["MNLI-m.tsv", "MNLI-mm.tsv"])
    write_run(tmp_path / "runs", "mnli", seed=2, score=0.8)
    chosen = seeds(build_submission(tmp_path / "runs", tmp_path / "out.zip", partial=True))
    assert {file: seed for file, seed in chosen.items() if seed is not None} == dict.fromkeys(
        ["AX.tsv", "MNLI-m.tsv", "MNLI-mm.tsv"], 2
    )


def test_runs_without_predictions_do_not_count(tmp_path):
    write_run(tmp_path / "runs", "wnli", seed=1, score=0.4)
    write_run(tmp_path / "runs", "wnli", seed=2, score=0.9, files=[])
    write_run(tmp_path / "runs", "rte", method="vanilla", files=[])
    assert seeds(build_submission(tmp_path / "runs", tmp_path / "out.zip", partial=True))["WNLI.tsv"] == 1


def test_several_methods_ask_for_one(tmp_path):
    write_run(tmp_path / "runs", "wnli", seed=1)
    write_run(tmp_path / "runs", "rte", seed=2, method="vanilla")
    out = tmp_path / "out.zip"
    with pytest.raises(ValueError, match="several methods; choose with --method one of: logitmix, vanilla"):
        build_submission(tmp_path / "runs", out, partial=True)
    with pytest.raises(ValueError, match="no run of method 'mixup' has prediction files; found: logitmix, vanilla"):
        build_submission(tmp_path / "runs", out, method="mixup", partial=True)
    write_run(tmp_path / "runs", "cola", seed=4, method="mixup", files=[])
    with pytest.raises(ValueError, match=rf"Without them, add --do_predict: {tmp_path}/runs/cola/mixup/4\."):
        build_submission(tmp_path / "runs", out, method="mixup", partial=True)
    chosen = seeds(build_submission(tmp_path / "runs", out, method="vanilla", partial=True))
    assert {file: seed for file, seed in chosen.items() if seed is not None} == {"RTE.tsv": 2}


def test_the_same_run_twice_is_refused(tmp_path):
    write_run(tmp_path / "runs" / "a", "wnli", seed=1)
    write_run(tmp_path / "runs" / "b", "wnli", seed=1)
    with pytest.raises(ValueError, match="are both runs of wnli, logitmix, seed 1; move one away"):
        build_submission(tmp_path / "runs", tmp_path / "out.zip", partial=True)


def test_what_is_missing_is_listed_with_what_to_do(tmp_path):
    for name in TRAINED:
        if name not in ("qqp", "qnli", "mnli"):
            write_run(tmp_path / "runs", name)
    write_run(tmp_path / "runs", "mnli", seed=3, files=["MNLI-m.tsv", "MNLI-mm.tsv"])
    out = tmp_path / "out.zip"
    with pytest.raises(ValueError, match="found no") as error:
        build_submission(tmp_path / "runs", out)
    message = str(error.value)
    assert "method logitmix: found no QQP.tsv, AX.tsv, QNLI.tsv. Run what is missing, or leave it out" in message
    assert (
        f"mnli ({tmp_path}/runs/mnli/logitmix/3): python -m glue_runs.runs.run --task_name mnli --output_dir "
        f"{tmp_path}/runs/mnli/logitmix/3 '--mix_site=input|layer:-1' --do_predict" in message
    )
    assert (
        "; qqp, qnli: python -m glue_runs.runs.run --task_name TASK --do_train --do_eval --do_predict ..." in message
    )
    assert not out.exists()
    left_out = [choice.file for choice in build_submission(tmp_path / "runs", out, partial=True) if not choice.result]
    assert left_out == ["AX.tsv", "QNLI.tsv", "QQP.tsv"]
    assert zipfile.ZipFile(out).namelist() == [file for file in FILES if file not in left_out]


def test_a_malformed_file_leaves_what_was_there(tmp_path):
    folder, out = write_run(tmp_path / "runs", "wnli"), tmp_path / "out.zip"
    out.write_bytes(b"earlier")
    with (folder / "WNLI.tsv").open("a") as file:
        file.write("146\t0\n")
    with pytest.raises(ValueError, match=r"WNLI.tsv:148: found 147 rows"):
        build_submission(tmp_path / "runs", out, partial=True)
    assert out.read_bytes() == b"earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.zip", "runs"]


def test_the_command_prints_what_it_packed(tmp_path, capsys, monkeypatch):
    folder = write_run(tmp_path / "runs", "wnli", seed=2, score=0.5634)
    monkeypatch.chdir(tmp_path)
    assert main(["runs", "--partial"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["file", "development", "score", "run"]
    assert [line.split()[0] for line in lines[1:-1]] == FILES
    assert lines[-2].split() == ["WNLI.tsv", "0.5634", str(folder.relative_to(tmp_path))]
    assert lines[1].split() == ["AX.tsv", "-", "left", "out"]
    assert lines[-1] == "Wrote 1 of 11 files to submission.zip"
    assert zipfile.ZipFile("submission.zip").namelist() == ["WNLI.tsv"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["runs"], "found no CoLA.tsv"),
        (["nowhere"], "nowhere: no finished run"),
        (["runs", "--partial", "--output", "out.tar"], "out.tar: the leaderboard takes ZIP files"),
        (["runs", "--partial", "--method", "vanilla"], "no run of method 'vanilla'"),
        (["runs", "--partial", "--seed", "9"], "runs, seed 9: there is no finished run of a GLUE task"),
        (
            ["bare", "--partial"],
            "bare: none of the 1 finished runs has prediction files: bare/wnli/logitmix/0. Repeat their commands with "
            "--do_predict, as in: python -m glue_runs.runs.run --task_name wnli",
        ),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong(tmp_path, capsys, monkeypatch, flags, message):
    write_run(tmp_path / "runs", "wnli")
    write_run(tmp_path / "bare", "wnli", files=[])
    monkeypatch.chdir(tmp_path)
    assert main(flags) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "runs"]
