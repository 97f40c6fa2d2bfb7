# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import pytest

from glue_runs.report import step_time
from glue_runs.report.step_time import seconds_per_step


class Machine:
    """A clock, and the order in which trainers ran on it."""

    def __init__(self):
        self.now, self.turns = 0.0, []


class Steps:
    """A trainer whose steps take a known time; `slow` turns take six times as long."""

    def __init__(self, name, machine, costs, slow=()):
        self.name, self.machine, self.costs, self.slow = name, machine, costs, slow
        self.args, self.callbacks = SimpleNamespace(max_steps=0), []
        self.add_callback = self.callbacks.append

    def remove_callback(self, callback):
        self.callbacks = [one for one in self.callbacks if one is not callback]
        self.add_callback = self.callbacks.append

    def train(self):
        turn = self.machine.turns.count(self.name)
        self.machine.turns.append(self.name)
        for step in range(self.args.max_steps):
            cost = self.costs[step % len(self.costs)] * (6 if turn in self.slow else 1) + 100 * (step == 0)
            for callback in self.callbacks:
                callback.on_step_begin(None, None, None)
            self.machine.now += cost
            for callback in self.callbacks:
                callback.on_step_end(None, None, None)
            self.machine.now += 7  # the next batch is loaded


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(step_time, "_now", lambda: machine.now)
    return machine


def test_methods_take_turns_and_another_job_moves_nothing(machine):
    """Three steps of b cost 1, the fourth 5: 2 on average, also if two of its five turns are disturbed."""
    trainers = {"a": Steps("a", machine, [1.0]), "b": Steps("b", machine, [1.0, 1.0, 1.0, 5.0], slow=(1, 2))}
    assert seconds_per_step(trainers, steps=4, rounds=5) == pytest.approx({"a": 1.0, "b": 2.0})
    assert machine.turns == ["a", "b"] * 5


def test_what_slows_all_down_changes_no_ratio(machine):
    """Another job comes between the turns of a and b in the third of five rounds: b still takes twice as long as a."""
    trainers = {"a": Steps("a", machine, [1.0], slow=(3, 4)), "b": Steps("b", machine, [2.0], slow=(2, 3, 4))}
    assert seconds_per_step(trainers, steps=2, rounds=5) == pytest.approx({"a": 1.0, "b": 2.0})
    trainers = {"a": Steps("a", machine, [1.0], slow=range(7, 10))}
    assert seconds_per_step(trainers, steps=2, rounds=5) == pytest.approx({"a": 6.0})


def test_the_first_step_of_a_turn_warms_up(machine):
    trainer = Steps("a", machine, [1.0])
    assert seconds_per_step({"a": trainer}, steps=2, rounds=1) == pytest.approx({"a": 1.0})
    assert trainer.args.max_steps == 3
    assert trainer.callbacks == []
