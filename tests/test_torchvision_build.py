# SPDX-License-Identifier: Apache-2.0
"""A CUDA build of torchvision beside a CPU build of torch is named before transformers fails with it."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from logitmix_nlp.torchvision_build import warn_of_torchvision

BROKEN = "raise RuntimeError('operator torchvision::nms does not exist')\n"


@pytest.fixture
def torchvision(tmp_path, monkeypatch):
    """`torchvision(build, code)`: a package of that build which runs this code when it is imported."""

    def write(build: str, code: str = BROKEN) -> Path:
        (tmp_path / "torchvision").mkdir()
        (tmp_path / "torchvision" / "__init__.py").write_text(code)
        (tmp_path / "torchvision" / "version.py").write_text(f"__version__ = '{build}'\ngit_version = 'x'\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "torchvision", raising=False)
        return tmp_path

    yield write
    sys.modules.pop("torchvision", None)


def test_the_message_says_what_to_install(torchvision):
    torchvision("0.28.0+cu130")
    with pytest.warns(UserWarning, match="torchvision::nms") as caught:
        warn_of_torchvision("2.13.0+cpu")
    (message,) = [str(warning.message) for warning in caught]
    assert "torchvision 0.28.0+cu130 does not work with torch 2.13.0+cpu" in message
    assert "pip install torchvision torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("torch_build", "build", "code"),
    [
        ("2.13.0+cu130", "0.28.0+cu130", BROKEN),  # what else may be wrong with it is not ours to say
        ("2.13.0+cpu", "0.28.0+cpu", BROKEN),
        ("2.13.0+cpu", "0.28.0+cu130", ""),  # it works
    ],
)
def test_what_fits_or_works_is_not_warned_about(torchvision, torch_build, build, code):
    torchvision(build, code)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_torchvision(torch_build)


@pytest.mark.parametrize("package", ["logitmix_nlp", "glue_runs"])
def test_it_is_said_before_transformers_is_imported(torchvision, package):
    folder = torchvision("0.28.0+cu130")
    for build in ("torch", "transformers"):  # never imported, only looked at
        (folder / build).mkdir()
        (folder / build / "__init__.py").write_text("raise SystemExit('imported')")
        (folder / build / "version.py").write_text("__version__ = '2.13.0+cpu'\n")
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", f"import {package}"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "pip uninstall torchvision, then pip install torchvision torch==2.13.0" in done.stderr
