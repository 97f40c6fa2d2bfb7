# SPDX-License-Identifier: Apache-2.0
"""Datasets from the Hub, from its cache or from a local folder; what goes wrong is said in one line."""

from pathlib import Path

import yaml
from datasets import DatasetDict, load_dataset
from datasets.exceptions import DatasetsError

from logitmix_nlp.evaluation.data.files import SAVED_NAME, read_saved

__all__ = ["download"]


def download(
    name: str, config_name: str | None = None, *, cache_dir: str | None = None, token: str | None = None
) -> DatasetDict:
    """All splits of a dataset.

    Args:
        name (`str`): Name on the Hub, or a local folder, of data files or of `save_to_disk`.
        config_name (`str`, *optional*): Configuration of the dataset.
        cache_dir (`str`, *optional*): Where downloads are kept.
        token (`str`, *optional*): Hub token.

    Returns:
        `DatasetDict`: The splits.

    Raises:
        FileNotFoundError: If there is no such dataset or configuration, or it cannot be had now.
        ValueError: If the name is empty, or its files are malformed.
    """
    if not name.strip():
        raise ValueError("the name of the data is empty: give a file, a folder or a dataset on the Hub.")
    if any((Path(name) / file).is_file() for file in (SAVED_NAME, "state.json")):
        return read_saved(name)
    shown = f"dataset {name!r}" if config_name is None else f"dataset {name!r}, configuration {config_name!r},"
    try:
        return load_dataset(name, config_name, cache_dir=cache_dir, token=token)
    except (ConnectionError, FileNotFoundError) as error:
        raise FileNotFoundError(
            f"{shown} is neither a local folder, nor in the cache, nor to be had from the Hub: {_line(error)} "
            "Check the name and the connection, or give local files."
        ) from error
    except (DatasetsError, yaml.YAMLError) as error:
        raise ValueError(f"{shown} is malformed: {_line(error.__cause__ or error)}") from error
    except ValueError as error:
        raise FileNotFoundError(f"{shown} cannot be had: {_line(error)}") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
