# SPDX-License-Identifier: Apache-2.0
import csv
import json
import re
from html.parser import HTMLParser

import pytest
import run_samples

from glue_runs.report.command import FILES, main, make_report
from glue_runs.report.grid import load_grid
from glue_runs.report.tables import calibration_tables, published_tables, score_table, time_table

VOID = {"meta", "img", "br", "link", "source"}


class Page(HTMLParser):
    """What a test needs to know of a page: tags, addresses, ids and the rows of its tables."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.ids, self.tables, self.open = [], [], [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.addresses += [values[name] for name in ("src", "href", "srcset", "data", "action") if name in values]
        self.ids += [values["id"]] if "id" in values else []
        if tag == "table":
            self.tables[self.ids[-1]] = []
        elif tag == "tr":
            list(self.tables.values())[-1].append([])
        elif tag in ("td", "th"):
            list(self.tables.values())[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if {"td", "th"} & set(self.open):
            list(self.tables.values())[-1][-1][-1] += text


def report(root, capsys, *flags) -> Page:
    """Run the command, which must succeed, and read its page."""
    assert main([str(root), "--n_bootstrap", "100", *flags]) == 0, capsys.readouterr().err
    return Page((root / "report.html").read_text(encoding="utf-8"))


def printed(table) -> dict[str, list[str]]:
    return {name: [" ".join([cell.text, *cell.details]) for cell in row] for name, row in table.cells()}


def column_titles(table) -> list[str]:
    return [column.title for column in table.columns]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "grid"


def history(offset):
    losses = [{"loss": 1.0 + offset - step / 100, "step": step, "epoch": step / 20} for step in (10, 20, 30, 40)]
    return losses + [
        {"eval_accuracy": 0.5 + epoch / 10, "step": 20 * epoch, "epoch": float(epoch)} for epoch in (1, 2)
    ]


def test_scores_are_means_over_seeds(root):
    """(50 + 70) / 2 = 60, deviation sqrt(2 * 10^2) = 14.14; average of seed 1 is (50 + 40) / 2 = 45, of seed 2 55."""
    for seed, rte, cola in ((1, 0.5, 0.4), (2, 0.7, 0.4)):
        run_samples.write_run(root, "rte", "vanilla", seed, eval_accuracy=rte)
        run_samples.write_run(root, "cola", "vanilla", seed, eval_matthews_correlation=cola)
    table = score_table(load_grid(root))
    assert column_titles(table) == ["CoLA", "RTE", "average"]
    assert printed(table) == {"vanilla": ["40.00 ± 0.00", "60.00 ± 14.14", "50.00 ± 7.07"]}
    assert table.notes[0] == "In percent: accuracy, except Matthews correlation for CoLA."


def test_the_average_is_over_the_tasks_that_every_method_has(root):
    for task, method, score in (
        ("rte", "vanilla", 0.5), ("rte", "mixup", 0.6), ("qnli", "vanilla", 0.7), ("qnli", "mixup", 0.6),
        ("sst2", "vanilla", 0.9),
    ):  # fmt: skip
        run_samples.write_run(root, task, method, 1, eval_accuracy=score)
    table = score_table(load_grid(root))
    assert column_titles(table) == ["QNLI", "SST-2", "RTE", "average"]
    assert printed(table) == {
        "vanilla": ["70.00", "90.00", "50.00", "60.00"],
        "mixup": ["60.00", "–", "60.00", "60.00"],
    }
    assert "over the tasks that every method has: QNLI, RTE." in table.notes[1]
    assert [cell.bold for _, row in table.cells() for cell in row] == [
        True,
        False,
        False,
        True,
        False,
        False,
        True,
        True,
    ]


def test_mnli_has_two_columns_of_which_the_average_takes_the_papers(root, capsys):
    scores = {"eval_matched_accuracy": 0.9, "eval_mismatched_accuracy": 0.8}
    run_samples.write_run(root, "mnli", "vanilla", 1, keep=False, **scores)
    run_samples.write_run(root, "rte", "vanilla", 1, eval_accuracy=0.6, keep=False)
    table = score_table(load_grid(root))
    assert column_titles(table) == ["MNLI-m", "MNLI-mm", "RTE", "average"]
    assert printed(table)["vanilla"] == ["90.00", "80.00", "60.00", "70.00"]
    page = report(root, capsys)
    assert page.tables["ece"][0] == ["method", "MNLI-m", "MNLI-mm", "RTE"]
    assert "section-reliability" not in page.ids


def test_a_regression_has_no_calibration(root, capsys):
    for method in ("vanilla", "mixup"):
        for seed in (1, 2):
            run_samples.write_run(root, "stsb", method, seed)
    page = report(root, capsys)
    assert set(page.tables) == {
        "scores", "difference_score", "time", "published_bert_base", "published_bert_large", "tasks", "runs",
    }  # fmt: skip
    assert page.tables["scores"][0] == ["method", "STS-B"]
    assert page.tables["difference_score"][1] == ["mixup − vanilla", "0.00 [0.00, 0.00]"]
    assert page.tables["tasks"][0] == ["task", "score", "training rows", "evaluated rows", "runs"]
    assert page.tables["tasks"][1][:2] == ["STS-B", "Spearman correlation"]
    assert page.tables["runs"][0] == ["run", "score", "ECE", "training, seconds", "folder"]
    assert [row[0] for row in page.tables["runs"][1:3]] == ["STS-B, vanilla, seed 1", "STS-B, vanilla, seed 2"]


def test_training_time_is_compared_seed_by_seed(root):
    """Ratios 150/100 and 250/200 = 1.5 and 1.25: mean 1.375, deviation sqrt(2 * 0.125^2) = 0.177."""
    for method, seed, time in (("vanilla", 1, 100), ("vanilla", 2, 200), ("mixup", 1, 150), ("mixup", 2, 250)):
        run_samples.write_run(root, "rte", method, seed, train_runtime=time)
    run_samples.write_run(root, "rte", "mixup", 3, train_runtime=9999)
    assert printed(time_table(load_grid(root))) == {"vanilla": ["1.00 ± 0.00"], "mixup": ["1.38 ± 0.18"]}


def test_calibration_tables_mark_the_lowest(root):
    run_samples.write_run(root, "rte", "vanilla", 1, eval_ece=0.1234)
    run_samples.write_run(root, "rte", "mixup", 1, eval_ece=0.05, eval_oe=None)
    tables = {table.name: table for table in calibration_tables(load_grid(root), 15)}
    assert list(tables) == ["ece", "oe", "nll", "brier"]
    assert printed(tables["ece"]) == {"vanilla": ["0.123"], "mixup": ["0.050"]}
    assert [row[0].bold for _, row in tables["ece"].cells()] == [False, True]
    assert printed(tables["oe"])["mixup"] == ["–"]


def test_published_scores_stand_apart(root):
    base, large = published_tables()
    assert printed(base)["LogitMix on BERT-base"][-1] == "83.32"
    assert printed(large)["BERT-large (Devlin et al., 2018)"][5] == "89.90"
    assert all(table.notes[0].startswith("Published, not computed here") for table in (base, large))


def test_differences_have_intervals_where_predictions_were_kept(root, capsys):
    for method, scale, keep in (("vanilla", 4.0, True), ("mixup", 4.0, True), ("logitmix", 1.0, False)):
        for seed in (1, 2):
            run_samples.write_run(root, "rte", method, seed, scale=scale, keep=keep)
    page = report(root, capsys)
    rows = {row[0]: row[1] for row in page.tables["difference_score"][1:]}
    assert rows == {
        "mixup − vanilla": "0.00 [0.00, 0.00]",
        "logitmix − vanilla": "0.00 no interval",
        "logitmix − mixup": "0.00 no interval",
    }
    assert "No interval: predictions were not kept." in (root / "report.md").read_text(encoding="utf-8")


def test_differences_of_differing_methods(root, capsys):
    for method, scale in (("vanilla", 6.0), ("mixup", 1.5)):
        for seed in (1, 2):
            run_samples.write_run(root, "rte", method, seed, scale=scale, rows=200)
    page = report(root, capsys)
    eces = [[float(cell.split()[0]) for cell in row[1:]] for row in page.tables["ece"][1:]]
    with (root / "report.csv").open(newline="", encoding="utf-8") as file:
        (row,) = [row for row in csv.DictReader(file) if row["table"] == "difference_ece"]
    assert float(row["mean"]) == pytest.approx(eces[1][0] - eces[0][0], abs=0.001)
    assert float(row["low"]) < float(row["high"]) < 0
    assert row["n"] == "2"


def test_the_page_is_whole_and_needs_nothing_else(root, capsys):
    label = '<b>"50%" & x_y|z</b>'
    for method in ("vanilla", "mixup"):
        for seed in (1, 2):
            run_samples.write_run(root, "rte", method, seed, history=history(seed))
    (root / "grid.json").write_text(json.dumps({"labels": {"mixup": label}, "commands": [["run", "a b"]]}))
    page = report(root, capsys)
    text = (root / "report.html").read_text(encoding="utf-8")
    assert set(page.tables) == {
        "scores", "difference_score", "difference_ece", "difference_oe", "ece", "oe", "nll", "brier", "time",
        "published_bert_base", "published_bert_large", "tasks", "runs",
    }  # fmt: skip
    assert all(len(row) == len(rows[0]) for rows in page.tables.values() for row in rows)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert not {"script", "link", "iframe", "b"} & set(page.tags)
    assert [place for place in page.addresses if not place.startswith(("#", "data:image/svg+xml;base64,"))] == []
    assert {place[1:] for place in page.addresses if place.startswith("#")} <= set(page.ids)
    assert page.tags.count("img") == 2
    assert not re.search(r"@import|url\(", text)
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert page.tables["ece"][2][0] == label
    assert "run &#39;a b&#39;" in text
    assert r"\textless{}b\textgreater{}\textquotedbl{}50\%" in (root / "report.tex").read_text(encoding="utf-8")


def test_equal_runs_give_equal_bytes(root, tmp_path, capsys):
    for method in ("vanilla", "mixup"):
        run_samples.write_run(root, "rte", method, 1, history=history(0))
    for name in ("a", "b"):
        assert main([str(root), "--output_dir", str(tmp_path / name), "--n_bootstrap", "100"]) == 0
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_results_csv_holds_every_metric(root, capsys):
    run_samples.write_run(root, "rte", "vanilla", 1, eval_accuracy=1 / 3, keep=False)
    run_samples.write_run(root, "cola", "logitmix/mix_site=layer:2", 7)
    report(root, capsys)
    with (root / "results.csv").open(newline="", encoding="utf-8") as file:
        cola, rte = csv.DictReader(file)
    assert (cola["method"], cola["seed"], cola["folder"]) == (
        "logitmix/mix_site=layer:2", "7", "cola/logitmix+mix_site=layer_2/seed-7",
    )  # fmt: skip
    assert float(rte["eval_accuracy"]) == 1 / 3
    assert rte["eval_matthews_correlation"] == ""


def test_grid_json_gives_order_names_and_what_is_missing(root):
    for task, method in (("rte", "mixup"), ("cola", "mixup"), ("cola", "vanilla"), ("cola", "extra")):
        run_samples.write_run(root, task, method, 1, keep=False)
    grid = load_grid(root)
    assert grid.methods == ("vanilla", "mixup", "extra")
    assert [task.name for task in grid.tasks] == ["cola", "rte"]
    assert grid.missing == (("rte", "vanilla", 1), ("rte", "extra", 1))
    settings = {"methods": ["mixup", "vanilla"], "tasks": ["rte", "cola"], "seeds": [1, 2], "labels": {"mixup": "M"}}
    (root / "grid.json").write_text(json.dumps(settings))
    grid = load_grid(root)
    assert grid.methods == ("mixup", "vanilla", "extra")
    assert grid.labels == {"mixup": "M", "vanilla": "vanilla", "extra": "extra"}
    assert list(grid.runs) == [("rte", "mixup", 1), ("cola", "mixup", 1), ("cola", "vanilla", 1), ("cola", "extra", 1)]
    vanilla = [(task, "vanilla", seed) for task in ("rte", "cola") for seed in (1, 2)]
    assert set(grid.missing) == {("rte", "mixup", 2), ("cola", "mixup", 2), *vanilla} - {("cola", "vanilla", 1)}


def test_equal_labels_are_told_apart(root):
    for method in ("vanilla", "mixup", "logitmix"):
        run_samples.write_run(root, "rte", method, 1, keep=False)
    (root / "grid.json").write_text(json.dumps({"labels": {"mixup": "same", "logitmix": "same"}}))
    assert list(load_grid(root).labels.values()) == ["vanilla", "same (mixup)", "same (logitmix)"]


def test_what_was_run_is_told(root):
    for task, method, rate in (("rte", "vanilla", 1e-5), ("cola", "mixup", 2e-5)):
        run_samples.write_run(root, task, method, 1, keep=False, config={"learning_rate": rate, "bf16": True})
    (root / "grid.json").write_text(
        json.dumps({"seeds": [1, 2], "labels": {"mixup": "M"}, "commands": [["run", "a b"]]})
    )
    assert dict(make_report(load_grid(root)).facts) == {
        "Runs": "2 finished: 2 tasks, 2 methods, seeds 1",
        "Missing": "cola vanilla seed 1, 2; cola M seed 2; rte vanilla seed 2; rte M seed 1, 2",
        "Model": "tiny-bert",
        "Data": "nyu-mll/glue from the Hub",
        "Flags of all runs": "bf16=True",
        "Flags set per run": "learning_rate, mix_method",
        "Versions": "python 3.11.2, torch 2.13.0",
        "Training time": "3.3 minutes in all",
        "Made by": "run 'a b'",
    }


def test_the_headline_names_the_last_folder_of_a_path_and_the_facts_all_of_it(root):
    for task, model in (("rte", "/home/zoe/models/tiny/"), ("cola", "me/bert")):
        run_samples.write_run(root, task, "vanilla", 1, keep=False, config={"model_name_or_path": model})
    made = make_report(load_grid(root))
    assert made.title == "GLUE: me/bert, tiny"
    assert dict(made.facts)["Model"] == "me/bert / /home/zoe/models/tiny/"
