# SPDX-License-Identifier: Apache-2.0
"""Damaged files of runs and grids: exit 2, one line that names the file and the cause, nothing changed on disk."""

import json

import pytest
import run_samples

from glue_runs.grid import command as grid_command
from glue_runs.leaderboard import command as leaderboard
from glue_runs.report import command as report
from glue_runs.runs.results import is_finished, read_result

RUN, GRID, LOG = "cola/mixup/seed-1/result.json", "grid.json", "cola/mixup/seed-1/trainer_state.json"
ENTRY = {"step": 1, "epoch": 0.5, "loss": 0.5}

# What is damaged, its new content (or new values of some keys), the commands that read it, and what they say.
DAMAGES = {
    "a result cut off": (RUN, '{"task": "co', "report submission", "not valid JSON"),
    "a result of another kind": (RUN, "[]", "report submission", "it holds list"),
    "bytes for a result": (RUN, b"\xff\xfe", "report submission", "not valid JSON"),
    "a number as task": (RUN, {"task": 3}, "report submission", "task is 3"),
    "a list as task": (RUN, {"task": ["cola"]}, "report submission", "task is ['cola']"),
    "no name as method": (RUN, {"method": None}, "report submission", "method is None"),
    "a text as seed": (RUN, {"seed": "1"}, "report submission", "seed is '1'"),
    "true as seed": (RUN, {"seed": True}, "report submission", "seed is True"),
    "no metrics": (RUN, {"metrics": None}, "report submission", "metrics is None"),
    "a text as metric": (RUN, {"metrics": {"eval_ece": "low"}}, "report submission", "metrics.eval_ece is 'low', e"),
    "NaN as metric": (RUN, {"metrics": {"eval_matthews_correlation": float("nan")}}, "report submission", "is nan"),
    "an infinite metric": (RUN, {"metrics": {"train_loss": float("inf")}}, "report submission", "train_loss is inf"),
    "a list as config": (RUN, {"config": []}, "report submission", "config is []"),
    "a text as command": (RUN, {"command": "python x"}, "report submission", "command is 'python x'"),
    "a number in the command": (RUN, {"command": ["python", 3]}, "report submission", "command is ['python', 3]"),
    "a list as versions": (RUN, {"versions": ["torch"]}, "report submission", "versions is ['torch']"),
    "a text as time": (RUN, {"seconds": "long"}, "report submission", "seconds is 'long'"),
    "an unknown key": (RUN, {"colour": 1}, "report submission", "colour"),
    "an unknown task": (RUN, {"task": "colla"}, "report", "'colla' is no GLUE task"),
    "a grid cut off": (GRID, '{"tasks": ["co', "report run", "not valid JSON"),
    "a grid of another kind": (GRID, "3", "report run", "it holds int"),
    "a text as tasks": (GRID, {"tasks": "cola"}, "report run", "tasks is 'cola', expected a list of names"),
    "a list among tasks": (GRID, {"tasks": [["cola"]]}, "report run", "tasks is [['cola']]"),
    "an unknown task in the grid": (GRID, {"tasks": ["colla"]}, "report run", "Unknown GLUE task 'colla'"),
    "a number among methods": (GRID, {"methods": [3]}, "report run", "methods is [3]"),
    "a text as seed of the grid": (GRID, {"seeds": ["1"]}, "report run", "seeds is ['1'], expected a list of whole"),
    "a text as command of the grid": (GRID, {"commands": ["python x"]}, "report run", "a list of lists"),
    "a number in a command of the grid": (GRID, {"commands": [["python", 1]]}, "report run", "a list of lists"),
    "a number as label": (GRID, {"labels": {"mixup": 3}}, "report run", "labels.mixup is 3, expected names by method"),
    "a log cut off": (LOG, '{"log_history": [', "report", "not valid JSON"),
    "a log of another kind": (LOG, "[]", "report", "it holds list"),
    "no entries": (LOG, "{}", "report", "log_history is no list of entries"),
    "numbers for entries": (LOG, {"log_history": [1]}, "report", "log_history is no list of entries"),
    "an entry without step": (LOG, {"log_history": [{"loss": 1.0}]}, "report", "entry 1 of log_history has no number"),
    "a text as loss": (LOG, {"log_history": [{**ENTRY, "loss": "low"}]}, "report", "has no number as loss"),
}  # fmt: skip
COMMANDS = {
    "report": lambda root: report.main([str(root), "--n_bootstrap=100"]),
    "submission": lambda root: leaderboard.main([str(root), f"--output={root}/x.zip", "--partial"]),
    "run": lambda root: grid_command.main(
        ["--model=m", f"--output_dir={root}", "--tasks", "cola", "--methods", "mixup", "--seeds", "1"]
    ),
}


@pytest.fixture
def root(tmp_path):
    """A grid of one finished run with log, leaderboard file and settings."""
    folder = run_samples.write_run(tmp_path / "grid", "cola", "mixup", 1, history=[ENTRY])
    (folder / "CoLA.tsv").write_text("index\tprediction\n")
    (tmp_path / "grid" / GRID).write_text(json.dumps({"tasks": ["cola"], "methods": ["mixup"], "seeds": [1]}))
    return tmp_path / "grid"


def contents(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"}


@pytest.mark.parametrize(
    ("case", "command"), [(case, command) for case, (_, _, found, _) in DAMAGES.items() for command in found.split()]
)
def test_a_damaged_file_is_one_line(root, capsys, case, command):
    name, content, _, message = DAMAGES[case]
    path = root / name
    if isinstance(content, dict):
        content = json.dumps({**json.loads(path.read_text()), **content})
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = contents(root)
    assert COMMANDS[command](root) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert str(path if "no GLUE task" not in message else path.parent) in line
    assert message in line
    assert contents(root) == before


@pytest.mark.parametrize("case", [case for case, (name, *_) in DAMAGES.items() if name == RUN])
def test_a_run_whose_result_is_damaged_is_not_finished(root, case):
    """So `glue_runs run` makes it again; only what says itself what it is counts as a result."""
    path, content = root / RUN, DAMAGES[case][1]
    flags = read_result(path.parent).config
    assert is_finished(path.parent, flags)
    if isinstance(content, dict):
        content = json.dumps({**json.loads(path.read_text()), **content})
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert is_finished(path.parent, flags) is (case in ("NaN as metric", "an infinite metric", "an unknown task"))
