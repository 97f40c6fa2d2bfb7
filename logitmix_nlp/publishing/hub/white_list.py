# SPDX-License-Identifier: Apache-2.0
"""Which files of a folder may be uploaded: a model and what describes it, and nothing else."""

import shutil
from collections.abc import Container, Iterable
from pathlib import Path

from transformers.utils import ADAPTER_CONFIG_NAME, CONFIG_NAME, GENERATION_CONFIG_NAME

from logitmix_nlp.training.model_folders import weight_files
from logitmix_nlp.whole_files import PARTIAL

__all__ = [
    "CARD_NAME", "PROCESSOR_FILES", "TRAINING_ARGUMENTS_NAME", "copy_files", "publishable_files",
]  # fmt: skip

TRAINING_ARGUMENTS_NAME, CARD_NAME = "training_args.json", "README.md"
# What tokenizers and processors of Transformers save, by the names in their classes.
PROCESSOR_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json", "vocab.json", "vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model",
    "sentencepiece.model", "tokenizer.model", "spm.model", "spm_char.model", "bpe.codes", "entity_vocab.json",
    "normalizer.json", "emoji.json", "dict.txt", "word_shape.json", "word_pronunciation.json", "byte_maps.json",
    "vocab-src.json", "vocab-tgt.json", "target_vocab.json", "source.spm", "target.spm", "prophetnet.tokenizer",
    "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json",
)  # fmt: skip
_CONFIGS = (CONFIG_NAME, GENERATION_CONFIG_NAME, ADAPTER_CONFIG_NAME)
_DESCRIPTIONS = (CARD_NAME, TRAINING_ARGUMENTS_NAME, "result.json")
_PATTERNS = ("*_results.json", ".eval_results/*.yaml", "figures/*.png", "figures/*.svg")


def publishable_files(folder: str | Path) -> list[str]:
    """Everything in a folder that may be uploaded, and nothing else.

    These are the weights as safetensors, configurations, files of tokenizers and processors, the card `README.md`,
    results (`*_results.json`, `result.json`, `.eval_results/*.yaml`), `figures/` and `training_args.json`. Never
    pickles such as `training_args.bin`, optimizer states, logs, data or predictions. Links are followed within the
    folder, to files of the same name or that are uploaded anyway, and in the cache of the Hub to its blobs.

    Args:
        folder (`str` or `Path`): Folder of a finished run, or one written by `save_pretrained`.

    Returns:
        `list[str]`: Paths relative to the folder, with `/`, sorted.

    Raises:
        ValueError: If the index of sharded weights is damaged, or one of the files is a link to somewhere else.
    """
    folder = Path(folder)
    single = (*_CONFIGS, *PROCESSOR_FILES, *_DESCRIPTIONS)
    names = {*(name for name in single if (folder / name).is_file()), *weight_files(folder)}
    for pattern in _PATTERNS:
        names |= {path.relative_to(folder).as_posix() for path in folder.glob(pattern) if path.is_file()}
    for name in sorted(names):
        _check_link(folder, name, names)
    return sorted(names)


def _check_link(folder: Path, name: str, names: Container[str]) -> None:
    """Refuse a file that a link, of it or of its folder, takes from where nobody meant to publish it."""
    root, target = folder.resolve(), (folder / name).resolve()
    if target == root / name:
        return
    if target.is_relative_to(root):
        meant = target.name == Path(name).name or target.relative_to(root).as_posix() in names
    else:
        meant = root.parent.name == "snapshots" and target.is_relative_to(root.parent.parent / "blobs")
    if not meant:
        raise ValueError(
            f"{folder / name} is a link to {target}, which is not to be published: replace it by a copy, or delete it."
        )


def copy_files(folder: str | Path, names: Iterable[str], destination: str | Path) -> None:
    """Copy files into a new folder, which appears whole or not at all, also if the process is killed or the disk full.

    A copy, not links: `Trainer` overwrites files in place when a folder is saved to again, which links would follow.
    """
    partial = Path(f"{destination}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for name in names:
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(folder) / name, partial / name)
        partial.rename(destination)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
