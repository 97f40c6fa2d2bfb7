# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import study_samples as samples

from glue_runs.study.plan import chosen_rates, read_study
from glue_runs.study.rows import read_rows

ROOT = Path(__file__).parents[3]
TEXT = ROOT / "docs" / "results" / "text" / "study.yaml"


@pytest.fixture
def values(tmp_path):
    return samples.study_values(tmp_path)


def chosen(path, scores, losses):
    return samples.rows_of(samples.planned(path, {}, 0), validation_score=scores, validation_nll=losses)


def test_runs_come_seed_by_seed(tmp_path, values):
    path = samples.write_study(tmp_path, values)
    assert [run.plan["learning_rate"] for run in samples.planned(path, {}, 0)] == [0.01, 0.02]
    runs = samples.planned(path, chosen(path, [0.5, 0.6], [1.0, 1.0]), 1)
    assert [(run.plan["seed"], run.plan["method"], run.plan["learning_rate"]) for run in runs] == [
        (1, "vanilla", 0.02),
        (1, "longer", 0.02),
        (2, "vanilla", 0.02),
        (2, "longer", 0.02),
    ]
    assert [run.plan["flags"]["num_train_epochs"] for run in runs[:2]] == [1, 2]
    assert len({run.folder for run in runs}) == len({run.digest for run in runs}) == 4


@pytest.mark.parametrize(
    ("scores", "losses", "best"), [([0.6, 0.5], [2.0, 1.0], 0.01), ([0.5, 0.5], [2.0, 1.0], 0.02)]
)
def test_the_best_validation_score_decides_then_the_lower_nll(tmp_path, values, scores, losses, best):
    path = samples.write_study(tmp_path, values)
    assert chosen_rates(read_study(path), chosen(path, scores, losses)) == {"pets": best}


def test_nothing_is_planned_before_the_choice_is_made(tmp_path, values):
    path = samples.write_study(tmp_path, values)
    rows = chosen(path, [0.5, 0.5], [1.0, 2.0])
    with pytest.raises(ValueError, match="learning rate of pets is not chosen"):
        samples.planned(path, dict(list(rows.items())[:1]), 1)


def test_what_is_added_later_changes_no_plan(tmp_path, values):
    path = samples.write_study(tmp_path, values)
    before = [run.digest for run in samples.planned(path, chosen(path, [0.5, 0.6], [1.0, 1.0]), 1)]
    values["methods"]["mixup"] = {"spec": "mixup/mix_site=layer:0"}
    values["regimes"]["8"] = {"labels_per_class": 8, "wrong_labels": 0.5}
    values["tasks"]["pets"]["epochs"]["8"] = 3
    values["blocks"].append({"tasks": ["pets"], "regimes": ["8"], "methods": ["mixup"], "seeds": [1]})
    path = samples.write_study(tmp_path, values)
    assert [run.digest for run in samples.planned(path, chosen(path, [0.5, 0.6], [1.0, 1.0]), 1)] == before


def set_in(values, keys, value):
    for key in keys[:-1]:
        values = values[key]
    values[keys[-1]] = value


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["seeds"], [1], "unknown key 'seeds'"),
        (["methods", "longer"], {"epochs": 2}, "the key 'spec' is missing"),
        (["methods", "longer"], {"spec": "vanila"}, "Unknown mix_method 'vanila'"),
        (["methods", "longer"], {"spec": "logitmix/mix_sit=input"}, "unknown flag 'mix_sit'"),
        (["blocks", 1, "methods"], ["shorter"], "'shorter' is none of the methods: vanilla, longer"),
        (["blocks", 1, "tasks"], ["cars"], "'cars' is none of the tasks: pets"),
        (["blocks", 1, "regimes"], ["5"], "'5' is none of the regimes: 4"),
        (["tasks", "pets", "epochs"], {"5": 1}, "task pets has no epochs for '4'"),
        (["blocks", 0, "choose"], {"task": "pets"}, "the key 'regime' is missing"),
    ],
)
def test_a_wrong_study_is_refused_in_one_line(tmp_path, values, keys, value, message):
    set_in(values, keys, value)
    with pytest.raises(ValueError, match=message) as raised:
        read_study(samples.write_study(tmp_path, values))
    assert "\n" not in str(raised.value)


def test_a_block_before_its_choice_is_refused(tmp_path, values):
    values["blocks"].reverse()
    with pytest.raises(ValueError, match="a block runs pets before one that chooses its learning rate"):
        read_study(samples.write_study(tmp_path, values))


def test_the_rows_of_the_study_of_texts_are_what_its_file_plans():
    study, rows = read_study(TEXT), read_rows(TEXT.with_name("results.csv"))
    found = set()
    for number, block in enumerate(study.blocks):
        if "choose" in block or block["tasks"][0] in chosen_rates(study, rows):
            found |= {run.digest for run in samples.planned(TEXT, rows, number)}
    assert set(rows) - found == set()
    assert [digest for digest in rows if not (TEXT.parent / "rows" / f"{digest}.npz").is_file()] == []
