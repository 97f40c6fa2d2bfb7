# SPDX-License-Identifier: Apache-2.0
"""How long and how often a failed call is repeated."""

import pytest

from logitmix_nlp.publishing.hub.retries import RetryPolicy, requested_wait, with_retries


def test_waits_double_up_to_a_limit_with_jitter():
    policy = RetryPolicy(first_wait=1.0, longest_wait=8.0)
    for failures, longest in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (9, 8.0)):
        waits = [policy.wait(failures) for _ in range(200)]
        assert longest / 2 <= min(waits) < 0.6 * longest
        assert 0.9 * longest < max(waits) <= longest
    assert 30.5 <= policy.wait(1, asked=30.0) <= 31.0
    assert RetryPolicy() == RetryPolicy(attempts=5, first_wait=1.0, longest_wait=30.0, patience=900.0, timeout=60.0)


def test_what_an_answer_asks_to_wait():
    assert requested_wait({"Retry-After": "7"}) == 7.0
    assert requested_wait({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert requested_wait({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}) > 3000
    assert requested_wait({"RateLimit": '"api";r=0;t=55'}) == 55.0
    assert requested_wait({"Retry-After": "soon"}) is None
    assert requested_wait({}) is None


def test_attempts_are_counted():
    calls, waits = [], []

    def call():
        calls.append(1)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        with_retries(call, RetryPolicy(attempts=3, first_wait=1.0), sleep=waits.append)
    assert len(calls) == 3
    assert 0.5 <= waits[0] <= 1.0 <= waits[1] <= 2.0
    with pytest.raises(ConnectionResetError):
        with_retries(call, RetryPolicy(attempts=3, first_wait=20.0, patience=5.0), sleep=waits.append)
    assert len(calls) == 4
