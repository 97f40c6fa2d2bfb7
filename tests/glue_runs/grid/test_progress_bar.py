# SPDX-License-Identifier: Apache-2.0
import io
from types import SimpleNamespace

from run_samples import planned

from glue_runs.grid.progress_bar import ProgressView
from glue_runs.grid.worker import ProgressFile, read_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def step(run, done, total):
    state = SimpleNamespace(is_world_process_zero=True, global_step=done, max_steps=total)
    ProgressFile(run.folder / "progress.json").on_step_end(None, state, None)


def test_the_share_of_a_run_that_is_done_passes_through_its_file(tmp_path):
    (run,) = planned(tmp_path, 1)
    assert read_progress(run.folder) == 0.0
    step(run, 3, 12)
    assert read_progress(run.folder) == 0.25


def test_progress_is_written_once_a_second_at_most(tmp_path):
    (run,) = planned(tmp_path, 1)
    callback = ProgressFile(run.folder / "progress.json")
    for done in (1, 2, 3):
        callback.on_step_end(None, SimpleNamespace(is_world_process_zero=True, global_step=done, max_steps=4), None)
    assert read_progress(run.folder) == 0.25


def test_the_bar_counts_finished_runs_and_parts_of_running_ones(tmp_path):
    runs, screen = planned(tmp_path, 4), Terminal()
    view = ProgressView(runs, runs[1:], screen)
    step(runs[1], 1, 2)
    step(runs[2], 1, 4)
    view.update()
    assert view.bar.n == 1.75
    assert "1.75/4 runs" in screen.getvalue()
    assert "cola mixup seed 1 50%, cola mixup seed 2 25%" in screen.getvalue()
    view.end(runs[1], None, "accuracy 0.5000")
    assert view.bar.n == 2.25
    assert "[2/4] cola mixup seed 1: accuracy 0.5000\n" in screen.getvalue()
    view.close()


def test_elsewhere_than_on_a_terminal_there_is_one_line_per_event(tmp_path):
    runs, stream = planned(tmp_path, 3), io.StringIO()
    view = ProgressView(runs, runs[1:], stream)
    step(runs[1], 1, 2)
    view.update()
    view.end(runs[1], "error: no model", "")
    view.close()
    assert stream.getvalue().splitlines() == [
        "1 of 3 runs are finished already and are kept.",
        "[2/3] cola mixup seed 1: FAILED: error: no model",
    ]
