# SPDX-License-Identifier: Apache-2.0
"""One push: a handful of files as one commit, with retries of every call on the way."""

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.utils import get_session
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, logging

from logitmix_nlp.publishing.hub.public_text import public_result
from logitmix_nlp.publishing.hub.retries import (
    HubPushError,
    RetryPolicy,
    answer_of,
    cause_of,
    is_passing,
    with_retries,
)
from logitmix_nlp.publishing.hub.secrets import check_token, find_secret
from logitmix_nlp.publishing.hub.white_list import CARD_NAME

__all__ = ["Target", "find_or_create", "push_command", "push_files"]

logger = logging.get_logger(__name__)

_RESULT = "result.json"
_DEFAULT_BRANCH = "main"


@dataclass
class Target:
    """Where to push.

    Args:
        repo_id (`str`): Repository, `namespace/name`, or only `name` for the namespace of the login.
        token (`str`, *optional*): Token; `None` takes that of the login or of `HF_TOKEN`.
        private (`bool`, *optional*): Whether the repository is private. Only a new one is made so.
        revision (`str`, *optional*): Branch; made if it is not there. Default: `main`.
        exists (`bool`): Whether the repository is known to exist and `repo_id` to have its namespace.
    """

    repo_id: str
    token: str | None = field(default=None, repr=False)
    private: bool | None = None
    revision: str | None = None
    exists: bool = False


@contextmanager
def _answers_within(seconds: float) -> Iterator[None]:
    """Give requests that have no time limit one; huggingface_hub waits for a silent server forever."""
    client = get_session()
    before, client.timeout = client.timeout, seconds
    try:
        yield
    finally:
        client.timeout = before


def find_or_create(target: Target, seconds: float) -> None:
    """Make sure that the repository and its branch exist; `target.repo_id` then has its namespace. One try.

    Args:
        target (`Target`): Where to push; written to.
        seconds (`float`): How long to wait for each answer.

    Raises:
        HubPushError: If the repository is to be private but exists and is public.
        ValueError: If name or token cannot be right; nothing is sent then.
        Exception: What `huggingface_hub` raises if the Hub cannot be reached or refuses.
    """
    if target.exists:
        return
    check_token(target.token)
    api = HfApi(token=target.token)
    with _answers_within(seconds):
        repo_id = api.create_repo(target.repo_id, private=target.private, exist_ok=True).repo_id
        if target.private and not api.repo_info(repo_id).private:
            raise HubPushError(
                f"{repo_id} exists and is public, but a private repository was asked for: make it private in its "
                "settings on the Hub, or choose another name."
            )
        if target.revision not in (None, _DEFAULT_BRANCH) and not target.revision.startswith("refs/"):
            api.create_branch(repo_id, branch=target.revision, exist_ok=True)
    target.repo_id, target.exists = repo_id, True


def push_files(
    target: Target,
    files: Mapping[str, Path],
    message: str,
    policy: RetryPolicy,
    *,
    create_pr: bool = False,
    on_failure: Callable[[BaseException], None] = lambda error: None,
    sleep: Callable[[float], None] = time.sleep,
) -> CommitInfo:
    """Push files as one commit, which holds all of them or does not exist. Other files there stay as they are.

    Paths in `result.json` are shortened on the way. Repeating a push is safe: what is there already is not sent again,
    and nothing new makes no commit. Each try names the commit that it follows, so that one which the Hub carries out
    late, after it said that it failed, does not replace a later one.

    Args:
        target (`Target`): Where to push; the repository is made if it is not there.
        files (`Mapping[str, Path]`): Path in the repository to local file. Local files must not change meanwhile.
        message (`str`): Commit message.
        policy (`RetryPolicy`): How often and how long to try.
        create_pr (`bool`): Open a pull request instead of committing. A broken connection is then not tried again, as
            the request may have been opened.
        on_failure (`Callable`): Called with every transient error.
        sleep (`Callable`): Waits a number of seconds.

    Returns:
        `CommitInfo`: The commit, or the latest one if nothing was new.

    Raises:
        HubPushError: If it did not succeed; the message has the cause and no token.
    """

    def attempt() -> CommitInfo:
        readable = {path: file for path, file in files.items() if path != CARD_NAME or _is_readable(file)}
        contents = {path: _public_content(path, file, target.token) for path, file in readable.items()}
        find_or_create(target, policy.timeout)
        with _answers_within(policy.timeout):
            api = HfApi(token=target.token)
            # Read before anything is compared with it: a commit that came in between, or an earlier try that is
            # done after all, then makes this one void, instead of being overwritten.
            branch = target.revision or _DEFAULT_BRANCH
            head = None if create_pr else api.repo_info(target.repo_id, revision=branch).sha
            operations = [CommitOperationAdd(path, content) for path, content in contents.items()]
            return api.create_commit(
                target.repo_id,
                [*operations, *_superseded(api, target, files)],
                commit_message=message,
                revision=target.revision,
                create_pr=create_pr,
                parent_commit=head,
            )

    def passing(error: BaseException) -> bool:
        return is_passing(error) and not (create_pr and answer_of(error) is None)

    try:
        return with_retries(attempt, policy, passing=passing, on_failure=on_failure, sleep=sleep)
    except Exception as error:
        # The original error may quote a token, so it is not chained.
        cause = cause_of(error, target.token)
        raise HubPushError(f"Pushing {message!r} to {target.repo_id} failed: {cause}.", is_passing(error)) from None


def _is_readable(card: Path) -> bool:
    """Whether a card is UTF-8; the Hub takes no other, and refuses the model with it."""
    try:
        card.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        logger.warning(f"{card} is not pushed, as it is not UTF-8: save it as UTF-8, and push again.")
        return False
    return True


def _public_content(path: str, file: Path, token: str | None) -> str | bytes:
    """What to send of a file: its path, or its content if that is changed; files with tokens are refused."""
    name = PurePosixPath(path)
    before = content = _readable_part(file)
    if name.name == _RESULT:
        try:
            content = public_result(before)
        except ValueError as error:
            raise HubPushError(f"{path} is damaged ({error}): delete it, or repeat the run") from error
    if find_secret(content, token):
        raise HubPushError(f"{path} holds an access token: remove it from the file, and revoke the token")
    return str(file) if content == before else content


def _readable_part(file: Path) -> bytes:
    """All of a file that may be text: of weights their header, in which whoever saved them may have written."""
    with file.open("rb") as opened:
        if file.suffix != ".safetensors":
            return opened.read()
        return opened.read(int.from_bytes(opened.read(8), "little"))


def _superseded(api: HfApi, target: Target, files: Mapping[str, Path]) -> list[CommitOperationDelete]:
    """Weights in one file that shards in the same folder replace: `from_pretrained` would prefer the old ones."""
    ends = (path.removesuffix(SAFE_WEIGHTS_INDEX_NAME) for path in files if path.endswith(SAFE_WEIGHTS_INDEX_NAME))
    single = {place + SAFE_WEIGHTS_NAME for place in ends}
    there = api.list_repo_files(target.repo_id, revision=target.revision) if single else ()
    return [CommitOperationDelete(name) for name in sorted(single.intersection(there))]


def push_command(folder: str | Path, target: Target, path_in_repo: str | None = None) -> str:
    """The command line, for a shell, that pushes a folder later: to a folder in the repository, or to its root."""
    words = ["python", "-m", "logitmix_nlp", "push", str(folder), "--repo_id", target.repo_id]
    words += ["--private"] if target.private else []
    words += ["--revision", target.revision] if target.revision else []
    words += ["--path_in_repo", path_in_repo] if path_in_repo else []
    return shlex.join(words)
