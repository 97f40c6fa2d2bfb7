# SPDX-License-Identifier: Apache-2.0
"""A torchvision of another build than torch, beside which transformers cannot be imported: said before that fails."""

import importlib
import importlib.util
import re
import warnings
from pathlib import Path

__all__ = ["warn_of_torchvision"]


def warn_of_torchvision(torch_build: str | None = None) -> None:
    """Warn if the CPU build of torch stands beside a CUDA build of torchvision that cannot be imported.

    `pip install timm` brings such a one: timm needs torchvision, and PyPI's is built for CUDA. What transformers says
    then ("Could not import module 'PreTrainedModel'") names neither.

    Args:
        torch_build (`str`, *optional*): Version of torch with its build, `2.13.0+cpu`. Default: that installed.
    """
    torch_build, build = torch_build or _build("torch"), _build("torchvision")
    if not torch_build.endswith("+cpu") or "+cu" not in build:
        return
    try:
        importlib.import_module("torchvision")
    except Exception as error:
        warnings.warn(
            f"torchvision {build} does not work with torch {torch_build} ({error}), and transformers fails with it: "
            f"pip uninstall torchvision, then pip install torchvision torch=={torch_build.partition('+')[0]} "
            "--index-url https://download.pytorch.org/whl/cpu if you need it.",
            stacklevel=3,
        )


def _build(package: str) -> str:
    """Version of an installed package with its build, read without importing it; empty if there is none."""
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).with_name("version.py") if spec is not None and spec.origin else None
    text = path.read_text(encoding="utf-8") if path is not None and path.is_file() else ""
    match = re.search(r"^__version__ = ['\"](.+?)['\"]", text, flags=re.MULTILINE)
    return match.group(1) if match else ""
