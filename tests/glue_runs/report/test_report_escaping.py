# SPDX-License-Identifier: Apache-2.0
"""A report's files hold names, paths and commands of others as text, whatever they look like."""

import csv
import html
import json
import re

import run_samples

from glue_runs.report.command import main

HISTORY = [{"loss": 1.0 / step, "step": step, "epoch": float(step)} for step in (1, 2, 3)]


def test_names_and_commands_stay_text_in_every_file(tmp_path):
    label, model = "=1 $a$ [b] $_$ \\input{x}", "m\n^^M#"
    for method in ("vanilla", "mixup"):
        run_samples.write_run(tmp_path, "rte", method, 1, history=HISTORY, config={"model_name_or_path": model})
    path = tmp_path / "rte" / "mixup" / "seed-1" / "result.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "command": ["run", "\n```\n\n<script>alert(1)</script>"]})
    )
    (tmp_path / "grid.json").write_text(json.dumps({"labels": {"mixup": label}}))
    assert main([str(tmp_path), "--n_bootstrap", "100"]) == 0
    assert f'<th scope="row">{html.escape(label)}</th>' in (tmp_path / "report.html").read_text(encoding="utf-8")
    latex = (tmp_path / "report.tex").read_text(encoding="utf-8")
    assert "\\input" not in latex
    assert latex.splitlines()[0] == r"% GLUE: m \textasciicircum{}\textasciicircum{}M\#"
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    outside = re.sub(r"^(`{3,})bash\n.*?^\1$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    assert "script" in markdown
    assert "script" not in outside
    with (tmp_path / "report.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["row"] for row in csv.DictReader(file)}
    assert {f"'{label}", f"'{label} − vanilla"} <= rows


def test_the_page_may_load_nothing_and_run_nothing(tmp_path):
    run_samples.write_run(tmp_path, "rte", "vanilla", 1)
    assert main([str(tmp_path), "--n_bootstrap", "100"]) == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    (policy,) = re.findall('<meta http-equiv="Content-Security-Policy" content="(.*?)">', text)
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert allowed == {
        "default-src": "'none'", "img-src": "data:", "style-src": "'unsafe-inline'", "base-uri": "'none'",
        "form-action": "'none'",
    }  # fmt: skip
    assert text.index("Content-Security-Policy") < text.index("<style>")


def test_passwords_in_addresses_stay_out_of_every_file(tmp_path):
    """As in the results of runs from before they were left out there."""
    secret = "https://zoe9:q7x@host/p"
    config = {"model_name_or_path": secret, "data_dir": secret, "run_name": secret}
    for method in ("vanilla", "mixup"):
        path = run_samples.write_run(tmp_path, "rte", method, 1, history=HISTORY) / "result.json"
        result = json.loads(path.read_text())
        command = [*result["command"], f"--run_name={secret}"]
        path.write_text(json.dumps({**result, "command": command, "config": {**result["config"], **config}}))
    (tmp_path / "grid.json").write_text(json.dumps({"commands": [["run", "--run_name", secret]]}))
    assert main([str(tmp_path), "--n_bootstrap", "100"]) == 0
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("report.*")}
    assert {"report.html", "report.md", "report.tex", "report.csv"} <= set(written)
    assert [name for name, text in written.items() if "q7x" in text or "zoe9" in text] == []
    assert "https://host/p" in written["report.md"]
