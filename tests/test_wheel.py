# SPDX-License-Identifier: Apache-2.0
"""The built wheel, installed and used outside the checkout. Slow: building fetches setuptools (`make wheel`)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
USE = """
import importlib.resources, sys
from pathlib import Path
import logitmix_nlp, glue_runs
from logitmix_nlp import LogitMixTrainer, LogitMixTrainingArguments, LogitMixMixin
place = Path(sys.argv[1]).resolve()
for package in (logitmix_nlp, glue_runs):
    assert place in Path(package.__file__).resolve().parents, package.__file__
for package, name in (
    ("logitmix_nlp", "py.typed"),
    ("logitmix_nlp.publishing.card", "README.md.jinja"),
    ("logitmix_nlp.reports", "page.html.jinja"),
):
    assert importlib.resources.files(package).joinpath(name).is_file(), name
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the wheel installed, and an environment that sees it before the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "--no-deps", "-w", str(folder / "dist"), str(ROOT)], check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    subprocess.run([*PIP, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return folder / "site"


def run(site, *command):
    environment = {**os.environ, "PYTHONPATH": str(site), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, cwd=site.parent, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_wheel_holds_all_that_is_used(site):
    done = run(site, sys.executable, "-c", USE, str(site))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("script", "command"), [("logitmix", "evaluate"), ("glue-runs", "report")])
def test_console_scripts_run(site, script, command):
    for words in (["--help"], [command, "--help"]):
        done = run(site, sys.executable, str(site / "bin" / script), *words)
        assert done.returncode == 0, done.stderr
        assert "usage: " + script in done.stdout or command in done.stdout
