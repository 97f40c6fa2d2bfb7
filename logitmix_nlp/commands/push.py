# SPDX-License-Identifier: Apache-2.0
r"""Push the folder of a finished run to the Hub, or complete a push that failed.

    python -m logitmix_nlp push out/mrpc --repo_id me/minilm-mrpc [--private] [--revision v2] [--create_pr]

What is there already is not sent again. Only the model, its tokenizer or processor, card, results, figures and
`training_args.json` are uploaded. The token is that of `hf auth login`, or of the environment variable HF_TOKEN.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub.utils import HFValidationError, validate_repo_id

from logitmix_nlp.hub.retries import HubPushError, RetryPolicy
from logitmix_nlp.hub.secrets import check_token
from logitmix_nlp.hub.upload import Target, push_files
from logitmix_nlp.hub.white_list import check_loads, publishable_files

__all__ = ["main"]

PROGRAM = "python -m logitmix_nlp push"


def parser() -> argparse.ArgumentParser:
    """The flags of the command."""
    parsed = argparse.ArgumentParser(
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
    return parsed


def check_no_token(argv: Sequence[str]) -> None:
    """Refuse a token on the command line, where the history of the shell and the list of processes show it.

    Raises:
        ValueError: If there is one; the message does not repeat it.
    """
    flags = ("--token", "--hub_token", "--hub-token")
    if any(word.split("=")[0] in flags for word in argv):
        raise ValueError(
            "a token on the command line stays in the history of the shell: log in with `hf auth login`, or set the "
            "environment variable HF_TOKEN."
        )


def main(argv: Sequence[str], policy: RetryPolicy | None = None) -> int:
    """Push a folder as the flags say.

    Args:
        argv (`Sequence[str]`): Flags.
        policy (`RetryPolicy`, *optional*): How often and how long to try.

    Returns:
        `int`: 0 if all of it is on the Hub; 1 if the push failed; 2 if something is wrong with what the user gave.
    """
    try:
        check_no_token(argv)
        options = parser().parse_args(argv)
        validate_repo_id(options.repo_id)
        if options.create_pr and options.revision is not None:
            raise ValueError("--create_pr opens a pull request against main: leave --revision out.")
        check_token(os.environ.get("HF_TOKEN"))
        check_loads(options.folder)
        files = {name: options.folder / name for name in publishable_files(options.folder)}
    except (ValueError, OSError, HFValidationError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
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
