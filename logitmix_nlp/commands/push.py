# SPDX-License-Identifier: Apache-2.0
r"""Push the folder of a finished run to the Hub, or complete a push that failed.

    python -m logitmix_nlp push out/mrpc --repo_id me/minilm-mrpc [--private] [--revision v2] [--create_pr] \
        [--path_in_repo checkpoint-20]

What is there already is not sent again. Only the model, its tokenizer or processor, card, results, figures and
`training_args.json` are uploaded. The token is that of `hf auth login`, or of the environment variable HF_TOKEN.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import yaml
from huggingface_hub import ModelCardData, get_token, metadata_load
from huggingface_hub.utils import validate_repo_id
from transformers.utils import CONFIG_NAME

from logitmix_nlp.calibration.stored_temperature import TEMPERATURE_KEY
from logitmix_nlp.commands import OneLineParser, one_line_errors
from logitmix_nlp.publishing.card.facts import LIBRARY_TAG
from logitmix_nlp.publishing.hub.retries import HubPushError, RetryPolicy
from logitmix_nlp.publishing.hub.secrets import check_token
from logitmix_nlp.publishing.hub.upload import Target, push_files
from logitmix_nlp.publishing.hub.white_list import CARD_NAME, publishable_files
from logitmix_nlp.training.model_folders import check_loads
from logitmix_nlp.whole_files import read_object

__all__ = ["main"]

PROGRAM = "python -m logitmix_nlp push"


def parser() -> argparse.ArgumentParser:
    """The flags of the command."""
    parsed = OneLineParser(
        PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parsed.add_argument("folder", type=Path, metavar="DIR", help="Folder of the finished run.")
    parsed.add_argument(
        "--repo_id", required=True, help="Repository, namespace/name; without namespace it is yours. Made if missing."
    )
    parsed.add_argument("--private", action="store_true", help="Make a new repository private.")
    parsed.add_argument("--revision", help="Branch; made if missing. Default: main.")
    parsed.add_argument("--commit_message", default="Upload model", help="Default: %(default)r.")
    parsed.add_argument("--create_pr", action="store_true", help="Open a pull request instead of committing.")
    parsed.add_argument("--path_in_repo", metavar="FOLDER", help="Folder in the repository. Default: its root.")
    return parsed


def check_place(folder: str | None) -> str:
    """The prefix of paths in the repository for a folder there, `""` for the root."""
    if folder is None:
        return ""
    parts = PurePosixPath(folder).parts
    if not parts or folder.startswith("/") or "\\" in folder or {"..", ".git"}.intersection(parts):
        raise ValueError(f"--path_in_repo {folder}: give a folder inside the repository, such as checkpoint-20.")
    return f"{'/'.join(parts)}/"


def check_no_token(argv: Sequence[str]) -> None:
    """Refuse a token on the command line, where the history of the shell and the list of processes show it."""
    flags = ("--token", "--hub_token", "--hub-token")
    if any(word.split("=")[0] in flags for word in argv):
        raise ValueError(
            "a token on the command line stays in the history of the shell: log in with `hf auth login`, or set the "
            "environment variable HF_TOKEN."
        )


def outdated_card(folder: Path) -> str | None:
    """What is wrong with a card of ours whose header names another temperature than the model's; else `None`."""
    card, config = folder / CARD_NAME, folder / CONFIG_NAME
    try:
        header = (metadata_load(card) or {}) if card.is_file() and config.is_file() else {}
        data = ModelCardData(**header, ignore_metadata_errors=True)
        if LIBRARY_TAG not in (data.tags or ()):
            return None
    except (ValueError, TypeError, yaml.YAMLError):
        return None  # not UTF-8 or not valid: the push itself says so
    own = [result for result in data.eval_results or () if result.source_url is None and result.verify_token is None]
    # Cards of version 0.1 name the temperature with each of their metrics only.
    of_metrics = ((result.metric_args or {}).get("temperature") for result in own)
    named = header.get(TEMPERATURE_KEY, next(filter(None, of_metrics), None))
    stored = read_object(config).get(TEMPERATURE_KEY)
    if stored == named:
        return None
    now, then = (
        f"no {TEMPERATURE_KEY}" if value is None else f"{TEMPERATURE_KEY} {value}" for value in (stored, named)
    )
    return (
        f"{config} has {now}, but the header of {card} has {then}: have the card written anew, with the command "
        "of the run and --do_eval or trainer.create_model_card(), and push again."
    )


@one_line_errors
def main(argv: Sequence[str], policy: RetryPolicy | None = None) -> int:
    """Push a folder as the flags say.

    Args:
        argv (`Sequence[str]`): Flags.
        policy (`RetryPolicy`, *optional*): How often and how long to try.

    Returns:
        `int`: 0 if all of it is on the Hub; 1 if the push failed; 2 if something is wrong with what the user gave.
    """
    check_no_token(argv)
    options = parser().parse_args(argv)
    validate_repo_id(options.repo_id)
    if options.create_pr and options.revision is not None:
        raise ValueError("--create_pr opens a pull request against main: leave --revision out.")
    check_token(get_token())
    place = check_place(options.path_in_repo)
    check_loads(options.folder)
    files = {place + name: options.folder / name for name in publishable_files(options.folder)}
    outdated = outdated_card(options.folder)
    if outdated is not None:
        print("warning:", outdated, file=sys.stderr)
    target = Target(options.repo_id, private=options.private or None, revision=options.revision)
    try:
        commit = push_files(
            target, files, options.commit_message, policy or RetryPolicy(), create_pr=options.create_pr
        )
    except HubPushError as error:
        print("error:", error, "Repeat the command to complete the push.", file=sys.stderr)
        return 1
    left = sum(1 for path in options.folder.rglob("*") if path.is_file()) - len(files)
    print(f"Pushed {len(files)} files ({left} others stay here): {', '.join(files)}")
    print(commit.pr_url if options.create_pr else commit.repo_url)
    return 0
