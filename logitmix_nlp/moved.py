# SPDX-License-Identifier: Apache-2.0
"""Old import paths, kept until version 0.3: each one warns and gives the module at its new place."""

import importlib
import importlib.abc
import importlib.util
import sys
import warnings
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType

__all__ = ["MOVED"]

MOVED = {
    "logitmix_nlp.callbacks": "logitmix_nlp.calibration.callbacks",
    "logitmix_nlp.card": "logitmix_nlp.publishing.card",
    "logitmix_nlp.evaluate_metrics": "logitmix_nlp.calibration.evaluate_metrics",
    "logitmix_nlp.methods": "logitmix_nlp.training.methods",
    "logitmix_nlp.metrics": "logitmix_nlp.calibration.metrics",
    "logitmix_nlp.mixup_rescaling": "logitmix_nlp.evaluation.mixup_rescaling",
    "logitmix_nlp.pipelines": "logitmix_nlp.calibration.pipelines",
    "logitmix_nlp.plots": "logitmix_nlp.reports.plots",
    "logitmix_nlp.robustness": "logitmix_nlp.evaluation.robustness",
    "logitmix_nlp.stored_temperature": "logitmix_nlp.calibration.stored_temperature",
    "logitmix_nlp.temperature": "logitmix_nlp.calibration.temperature",
    "logitmix_nlp.training_args": "logitmix_nlp.training.arguments",  # in pickled `training_args.bin` files
    "glue_runs.evaluate_metric": "glue_runs.tasks.evaluate_metric",
    "glue_runs.run": "glue_runs.runs.run",  # in the commands that `result.json` files hold
}


class _MovedModules(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finder and loader of the modules in `MOVED`: both names give the same module object."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        warnings.warn(f"{spec.name} is now {MOVED[spec.name]}.", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(MOVED[spec.name])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = module.__spec__.loader_state  # the import system has put the alias's there

    def get_code(self, fullname: str) -> CodeType | None:
        """Code for `python -m OLD_NAME`."""
        return importlib.util.find_spec(MOVED[fullname]).loader.get_code(MOVED[fullname])

    def get_filename(self, fullname: str) -> str:
        """File of that code, which becomes `sys.argv[0]`."""
        return importlib.util.find_spec(MOVED[fullname]).origin

    def get_source(self, fullname: str) -> str | None:
        return importlib.util.find_spec(MOVED[fullname]).loader.get_source(MOVED[fullname])


sys.meta_path.insert(0, _MovedModules())
