# SPDX-License-Identifier: Apache-2.0
"""Errors of the Hub: which are transient, what they mean, and how often a call is repeated."""

import json
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from logitmix_nlp.publishing.hub.secrets import redact

__all__ = ["HubPushError", "RetryPolicy", "answer_of", "cause_of", "is_passing", "requested_wait", "with_retries"]

PASSING_STATUS = (408, 409, 412, 425, 429, 500, 502, 503, 504)
# 409 and 412: somebody else's commit or a second operation on the repository came in between.
_WAYS_OUT = {
    401: "log in with `hf auth login`, or set HF_TOKEN to a token that may write",
    403: "use a token that may write to this repository, or choose another one (--hub_model_id of a training,"
    " --repo_id of `push`)",
    404: "check the name of the repository and of the revision, and that the token may see it",
    413: "the Hub takes no files of this size",
}
_RESET = re.compile(r";\s*t\s*=\s*(\d+)")
Result = TypeVar("Result")


class HubPushError(RuntimeError):
    """A push that did not succeed; the message names the cause and what to do, without tokens.

    Args:
        message (`str`): The message.
        passing (`bool`): Whether the same push may succeed later.
    """

    def __init__(self, message: str, passing: bool = False):
        super().__init__(message)
        self.passing = passing


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long a failed call is repeated: exponential back-off with jitter.

    Args:
        attempts (`int`): Calls at most, the first included.
        first_wait (`float`): Seconds before the second call, doubled from call to call.
        longest_wait (`float`): Seconds between two calls at most.
        patience (`float`): No further call once this many seconds have passed, and none if the Hub asks to wait longer
            (`Retry-After`).
        timeout (`float`): Seconds without any answer after which a request counts as failed.
    """

    attempts: int = 5
    first_wait: float = 1.0
    longest_wait: float = 30.0
    patience: float = 900.0
    timeout: float = 60.0

    def wait(self, failures: int, asked: float | None = None) -> float:
        """Seconds to wait after some failures in a row: half to all of the doubled wait, at least those asked."""
        doubled = min(self.first_wait * 2 ** (failures - 1), self.longest_wait)
        return (asked or 0.0) + random.uniform(0.5, 1.0) * doubled


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what caused it, from the outside in."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def answer_of(error: BaseException) -> HfHubHTTPError | None:
    """The error that holds the Hub's answer, among an error and its causes; `None` if there was no answer."""
    return next((link for link in _chain(error) if isinstance(link, HfHubHTTPError)), None)


def _is_transport(error: BaseException) -> bool:
    # huggingface_hub changed its HTTP library; both name the common base class of their errors so.
    return any(cls.__name__ in ("TransportError", "TimeoutException") for cls in type(error).__mro__)


def is_passing(error: BaseException) -> bool:
    """Whether an error is transient, so that the failed call may succeed when it is repeated.

    Transient are answers with status 408, 409, 412, 425, 429 or 5xx, answers that are not JSON, and broken, refused or
    silent connections; a missing permission or repository, invalid metadata, offline mode and local errors are not.
    """
    if isinstance(error, HubPushError):
        return error.passing
    if any(isinstance(link, OfflineModeIsEnabled) for link in _chain(error)):
        return False
    answered = answer_of(error)
    if answered is not None:
        return answered.response.status_code in PASSING_STATUS
    passing = (ConnectionError, TimeoutError, json.JSONDecodeError)
    return any(isinstance(link, passing) or _is_transport(link) for link in _chain(error))


def requested_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait, in `Retry-After` (seconds or a date) or `RateLimit`; else `None`."""
    headers = {name.lower(): value for name, value in headers.items()}
    asked = headers.get("retry-after", "").strip()
    if asked.isdigit():
        return float(asked)
    try:
        return max(parsedate_to_datetime(asked).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        reset = _RESET.search(headers.get("ratelimit", ""))
        return float(reset[1]) if reset else None


def cause_of(error: BaseException, *tokens: str | None) -> str:
    """What went wrong and what to do about it, on one line and without tokens.

    Such as `403 Forbidden from POST /api/models/me/m/commit/main: read-only token (use a token …)`.
    """
    answered = answer_of(error)
    if isinstance(error, HubPushError):
        text = str(error)
    elif any(isinstance(link, OfflineModeIsEnabled) for link in _chain(error)):
        text = "HF_HUB_OFFLINE is set (unset it to push)"
    elif answered is not None:
        response = answered.response
        said = answered.server_message or ""
        where = f"{response.request.method} {response.request.url.path}"
        text = f"{response.status_code} {response.reason_phrase} from {where}" + (f": {said}" if said else "")
        if response.status_code in _WAYS_OUT:
            text += f" ({_WAYS_OUT[response.status_code]})"
        if answered is not error:
            text = f"{error} {text}"
    elif isinstance(error, json.JSONDecodeError):
        text = "the Hub's answer is not JSON: it, or a proxy in between, is out of order"
    elif (broken := next((link for link in _chain(error) if _is_transport(link)), None)) is not None:
        text = f"no answer from the Hub, {type(broken).__name__}" + (f": {broken}" if str(broken) else "")
    else:
        deepest = list(_chain(error))[-1]
        text = f"{type(deepest).__name__}: {deepest}" if str(deepest) else type(deepest).__name__
        if deepest is not error:
            text = f"{error} ({text})"
    return redact(" ".join(text.split()), *tokens)


def with_retries(
    call: Callable[[], Result],
    policy: RetryPolicy,
    *,
    passing: Callable[[BaseException], bool] = is_passing,
    on_failure: Callable[[BaseException], None] = lambda error: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Call until it succeeds, fails for good, or the policy allows no further try; then its last error is raised.

    Args:
        call (`Callable`): What to do; safe to repeat.
        policy (`RetryPolicy`): How often and how long.
        passing (`Callable`): Whether an error is transient.
        on_failure (`Callable`): Called with every error after which the call is repeated.
        sleep (`Callable`): Waits a number of seconds.
    """
    start = time.monotonic()
    for attempt in range(1, policy.attempts + 1):
        try:
            return call()
        except Exception as error:
            answered = answer_of(error)
            asked = None if answered is None else requested_wait(answered.response.headers)
            wait = policy.wait(attempt, asked)
            late = time.monotonic() - start + wait > policy.patience
            if attempt == policy.attempts or late or not passing(error):
                raise
            on_failure(error)
            sleep(wait)
    raise ValueError(f"attempts must be at least 1, got {policy.attempts}.")
