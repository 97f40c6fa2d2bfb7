# SPDX-License-Identifier: Apache-2.0
"""Models as they lie in folders and on the Hub: read with one line for whatever is damaged or does not fit."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import HFValidationError, validate_repo_id
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoConfig, AutoImageProcessor, BaseImageProcessor, PreTrainedConfig, PreTrainedModel
from transformers.utils import (
    ADAPTER_CONFIG_NAME,
    ADAPTER_SAFE_WEIGHTS_NAME,
    CONFIG_NAME,
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
)

__all__ = [
    "broken_weight",
    "check_loads",
    "check_model_name",
    "explained",
    "load_config",
    "load_image_processor",
    "load_weights",
    "weight_files",
]

TYPES = {"id2label": dict, "label2id": dict, "architectures": list}  # which Transformers itself does not check


@contextmanager
def explained(what: str, kind: type[ValueError] = ValueError) -> Iterator[None]:
    """Make one `ValueError` of whatever the files of others, or settings that do not go together, raise.

    Args:
        what (`str`): What cannot be done: how the message begins. `OSError` and `ImportError` speak for themselves.
        kind (`type[ValueError]`): Which one.
    """
    try:
        yield
    except (OSError, ImportError):
        raise
    except Exception as error:  # anything: the code that reads configurations and weights checks little
        plain = type(error) in (ValueError, RuntimeError)
        name = "" if plain else f"{type(error).__name__}: "
        raise kind(f"{what} ({name}{' '.join(str(error).split())})") from error


def check_model_name(name: str) -> None:
    """Refuse a name that is no folder or file here, and that no model on the Hub can have.

    Raises:
        FileNotFoundError: Naming it.
    """
    try:
        if not Path(name).exists() or not name:
            validate_repo_id(name)
    except HFValidationError as error:
        raise FileNotFoundError(
            f"model {name!r}: there is no such folder, and it is no name on the Hub either (NAME or OWNER/NAME)."
        ) from error


def load_config(name: str, **options: Any) -> PreTrainedConfig:
    """Read a configuration.

    Args:
        name (`str`): Folder, file or Hub id.
        **options: Passed to `AutoConfig.from_pretrained`.

    Returns:
        `PreTrainedConfig`: The configuration.

    Raises:
        OSError: If there is none of this name, or it is no JSON.
        ValueError: If values in it have the wrong type, or its model is unknown.
    """
    check_model_name(name)
    with explained(f"{name}: its config.json cannot be used"):
        config = AutoConfig.from_pretrained(name, **options)
    for field, kind in TYPES.items():
        value = getattr(config, field, None)
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"{name}: {field} in its config.json must be a {kind.__name__}, got {value!r}.")
    layers = config.to_dict().get("num_hidden_layers")
    if isinstance(layers, int) and layers < 0:
        raise ValueError(f"{name}: num_hidden_layers in its config.json must be at least 0, got {layers}.")
    return config


def load_weights(
    auto: type,
    name: str,
    *,
    config: PreTrainedConfig,
    trained: bool = False,
    ignore_mismatched_sizes: bool = False,
    **options: Any,
) -> PreTrainedModel:
    """Build the model of a configuration and read its weights.

    Args:
        auto (`type`): Class with `from_pretrained`, such as `AutoModelForSequenceClassification`.
        name (`str`): Folder, or Hub id.
        config (`PreTrainedConfig`): Of the model.
        trained (`bool`): Whether the model is used as it is, so that none of its weights may be missing.
        ignore_mismatched_sizes (`bool`): Whether weights of another size than the configuration says start anew.
        **options: Passed to `from_pretrained`.

    Returns:
        `PreTrainedModel`: The model.

    Raises:
        OSError: If there are no weights of this name.
        ValueError: If a file is damaged, which is named, the weights do not fit the configuration, or hold NaN, or
            some are missing from a trained model.
    """
    options = {**options, "config": config, "ignore_mismatched_sizes": True, "output_loading_info": True}
    with _held_back(logging.getLogger("transformers.modeling_utils")):
        try:
            with explained(f"{name}: no model with these weights can be made of its config.json"):
                model, report = auto.from_pretrained(name, **options)
        except ValueError:
            if any(Path(name).glob("*.safetensors")):
                check_loads(name)  # names the file, if one is damaged
            raise
        if report["mismatched_keys"] and not ignore_mismatched_sizes:
            key, held, wanted = sorted(report["mismatched_keys"])[0]
            raise ValueError(
                f"{name}: {key} is {_shape(held)} in its weights, but {_shape(wanted)} in its config.json: they "
                "belong to two models, or one was changed by hand."
            )
        if trained and report["missing_keys"]:
            missing = ", ".join(sorted(report["missing_keys"])[:3])
            raise ValueError(f"{name} lacks weights ({missing}), so it would guess: give a fine-tuned classifier.")
        broken = broken_weight(model)
        if broken is not None:
            raise ValueError(f"{name}: {broken} holds NaN or infinite weights: the training that made it diverged.")
    return model


def broken_weight(model: nn.Module) -> str | None:
    """Name of the first parameter of a model that holds NaN or infinity; `None` if there is none."""
    return next((name for name, p in model.named_parameters() if not torch.isfinite(p).all()), None)


def load_image_processor(name: str, **options: Any) -> BaseImageProcessor:
    """Read an image processor; an `OSError` if there is none, a `ValueError` if it is damaged."""
    with explained(f"{name}: its preprocessor_config.json cannot be used"):
        return AutoImageProcessor.from_pretrained(name, **options)


def _shape(sizes: Any) -> str:
    return " x ".join(map(str, sizes))


@contextmanager
def _held_back(logger: logging.Logger) -> Iterator[None]:
    """Log what was logged meanwhile at the end, and nothing of it after an error, which says it in one line."""
    records: list[logging.LogRecord] = []

    def keep(record: logging.LogRecord) -> bool:
        records.append(record)
        return False

    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)
    for record in records:
        logger.handle(record)


def weight_files(folder: str | Path) -> list[str]:
    """Names of the weights of a model: one safetensors file, or an index and its shards, and those of an adapter.

    Args:
        folder (`str` or `Path`): Folder written by `save_pretrained`.

    Returns:
        `list[str]`: File names; empty if there are none. Shards that the index names are listed, there or not.

    Raises:
        ValueError: If the index cannot be read or names files outside the folder.
    """
    folder = Path(folder)
    names = [name for name in (SAFE_WEIGHTS_NAME, ADAPTER_SAFE_WEIGHTS_NAME) if (folder / name).is_file()]
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    if SAFE_WEIGHTS_NAME in names or not index.is_file():
        return names
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} is damaged ({error}): save the model again with save_pretrained.") from error
    strange = [name for name in shards if Path(name).name != name or not name.endswith(".safetensors")]
    if strange:
        raise ValueError(f"{index} names files that are no shards of this folder: {', '.join(strange)}.")
    return [*names, SAFE_WEIGHTS_INDEX_NAME, *shards]


def check_loads(folder: str | Path) -> None:
    """Check that a folder holds a model, or an adapter, that can be loaded: a configuration and whole weights.

    Args:
        folder (`str` or `Path`): The folder.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If the configuration or weights are missing, of another format, or damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder.")
    configs = [folder / name for name in (CONFIG_NAME, ADAPTER_CONFIG_NAME) if (folder / name).is_file()]
    if not configs:
        raise ValueError(f"{folder} has no {CONFIG_NAME}: give the folder that the model was saved to.")
    for path in configs:
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}): save the model again.") from error
    weights = [name for name in weight_files(folder) if name.endswith(".safetensors")]
    if not weights:
        raise ValueError(
            f"{folder} holds no weights in the safetensors format ({SAFE_WEIGHTS_NAME}): pickled and sharded states "
            "of a training are not uploaded; load the model and save it with save_pretrained."
        )
    for name in weights:
        try:
            with safe_open(folder / name, framework="numpy") as file:
                file.keys()
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{folder / name} is missing or damaged ({error}): save the model again.") from error
