# SPDX-License-Identifier: Apache-2.0
"""Every task from every place: the same columns, types and rows."""

import re

import datasets
import glue_rows
import pytest
import samples
from hub_server import hub
from huggingface_hub import constants

from glue_runs.runs.arguments import DataArguments
from glue_runs.runs.text_data import load_data
from glue_runs.tasks.description import resolve_labels, with_label_order
from glue_runs.tasks.glue import GLUE_TASKS, get_task
from glue_runs.tasks.sources import load_glue

WRITERS = {"official": samples.write_glue, "parquet": glue_rows.write_repository, "saved": glue_rows.write_saved}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The rows of all tasks in each local layout."""
    return {layout: write(tmp_path_factory.mktemp(layout)) for layout, write in WRITERS.items()}


@pytest.fixture
def online(monkeypatch, tmp_path):
    """Let `datasets` ask a Hub on the loopback interface that holds the given files of `nyu-mll/glue`."""
    servers = []

    def start(files):
        servers.append(hub({("datasets", "nyu-mll/glue"): files}))
        url = servers[-1].__enter__().url
        for module, name, value in (
            (constants, "ENDPOINT", url),
            (constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"),
            (constants, "HF_HUB_OFFLINE", False),
            (constants, "HF_HUB_CACHE", str(tmp_path / "hub")),
            (datasets.config, "HF_ENDPOINT", url),
            (datasets.config, "HUB_DATASETS_URL", url + "/datasets/{repo_id}/resolve/{revision}/{path}"),
            (datasets.config, "HF_HUB_OFFLINE", False),
            (datasets.config, "USE_PARQUET_EXPORT", False),
        ):
            monkeypatch.setattr(module, name, value)

    yield start
    for server in servers:
        server.__exit__(None, None, None)


def expected_data(task):
    """All splits of a task, those of the diagnostics included for MNLI."""
    data = glue_rows.hub_data(task)
    if task == "mnli":
        data["test_ax"] = glue_rows.hub_data("ax")["test"]
    return data


def assert_same(data, task):
    expected = expected_data(task)
    assert list(data) == list(expected)
    for name, split in data.items():
        assert split.column_names == expected[name].column_names
        assert split.features == expected[name].features
        assert split.to_dict() == expected[name].to_dict()


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("task", GLUE_TASKS)
def test_every_local_layout_gives_the_rows_of_the_hub(folders, task, layout):
    assert_same(load_data(DataArguments(task_name=task, data_dir=str(folders[layout])))[0], task)


def test_the_hub_gives_all_tasks(online, tmp_path):
    online(glue_rows.repository())
    for task in GLUE_TASKS:
        assert_same(load_data(DataArguments(task_name=task), cache_dir=str(tmp_path / "data"))[0], task)


@pytest.mark.parametrize("layout", WRITERS)
def test_only_the_named_splits_are_read(folders, layout):
    args = DataArguments(task_name="mnli", data_dir=str(folders[layout]))
    assert list(load_data(args, ["test_ax", "train"])[0]) == ["train", "test_ax"]


def test_a_folder_of_save_to_disk_may_be_named_itself(folders):
    data = load_glue(get_task("stsb"), data_dir=folders["saved"] / "stsb")
    assert_same(data, "stsb")


def test_other_types_and_further_columns_do_not_matter(tmp_path):
    data = glue_rows.hub_data("stsb")
    for name, split in data.items():
        features = datasets.Features({**split.features, "label": datasets.Value("float64")})
        features["sentence1"], features["idx"] = datasets.Value("large_string"), datasets.Value("int64")
        data[name] = split.cast(features).add_column("note", ["x"] * len(split))
    unlabelled = data["test"].remove_columns("label")
    data["test"] = unlabelled.add_column("label", [None, None], feature=data["train"].features["label"])
    data.save_to_disk(tmp_path / "stsb")
    assert_same(load_glue(get_task("stsb"), data_dir=tmp_path), "stsb")


def test_ids_are_whole_numbers(tmp_path):
    data = glue_rows.hub_data("cola")
    data["train"] = data["train"].cast_column("idx", datasets.Value("float64"))
    data.save_to_disk(tmp_path / "cola")
    with pytest.raises(ValueError, match=r"'train'.*: column 'idx' is of type double, it must hold signed integers\."):
        load_glue(get_task("cola"), ["train"], data_dir=tmp_path)


def test_labels_of_a_test_split_are_kept_if_all_are_known(tmp_path):
    data = glue_rows.hub_data("mrpc")
    data["test"] = data["validation"]
    data.save_to_disk(tmp_path / "mrpc")
    assert load_glue(get_task("mrpc"), data_dir=tmp_path)["test"]["label"][:] == [1]


def test_an_id_that_two_parts_share_is_refused(tmp_path):
    rows = glue_rows.hub_data("cola")["train"].select(range(2))
    for number in (0, 1):
        path = samples.write_text(tmp_path / "cola" / f"train-0000{number}-of-00002.parquet", "")
        path.write_bytes(glue_rows.parquet(rows))
    with pytest.raises(ValueError, match=r"cola, split 'train', row 3: row id 0 was already given in row 1"):
        load_glue(get_task("cola"), ["train"], data_dir=tmp_path)


def test_parts_of_a_parquet_split_are_joined_in_order(tmp_path):
    rows = glue_rows.hub_data("cola")["train"]
    for number in (0, 1):
        path = samples.write_text(tmp_path / "cola" / f"train-0000{number}-of-00002.parquet", "")
        path.write_bytes(glue_rows.parquet(rows.shard(2, number, contiguous=True)))
    data = load_glue(get_task("cola"), ["train"], data_dir=tmp_path)
    assert data["train"].to_dict() == rows.to_dict()
    path.unlink()
    with pytest.raises(
        ValueError, match=r"split 'train' is not complete: found train-00000-of-00002.parquet, expected"
    ):
        load_glue(get_task("cola"), ["train"], data_dir=tmp_path)


@pytest.mark.parametrize("given", ["", "no/such", "note.txt"])
def test_folder_in_no_layout_says_which_are_allowed(tmp_path, given):
    samples.write_text(tmp_path / "note.txt", "x")
    with pytest.raises(FileNotFoundError) as error:
        load_data(DataArguments(task_name="ax", data_dir=str(tmp_path / given)), ["test"])
    for place in ("diagnostic/diagnostic.tsv is not a file", "AX/AX.tsv", "ax/test-00000-of-00001.parquet"):
        assert place in str(error.value)
    assert "ax/dataset_dict.json" in str(error.value)
    assert "holds: note.txt." in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("layout", WRITERS)
def test_missing_split_lists_those_that_exist(folders, tmp_path, layout):
    for path in folders[layout].rglob("*"):
        if path.is_file() and path.parent.name in ("cola", "CoLA") and path.name.startswith("t"):
            samples.write_text(tmp_path / path.relative_to(folders[layout]), "").write_bytes(path.read_bytes())
    if layout == "saved":
        datasets.DatasetDict(train=glue_rows.hub_data("cola")["train"]).save_to_disk(tmp_path / "cola")
    with pytest.raises(FileNotFoundError, match=r"dev\.tsv is not a file|has no split validation; there is only: te?"):
        load_data(DataArguments(task_name="cola", data_dir=str(tmp_path)), ["validation"])


@pytest.mark.parametrize("layout", WRITERS)
def test_mnli_goes_on_without_the_diagnostics_and_says_so(tmp_path, caplog, layout):
    folder = WRITERS[layout](tmp_path)
    for path in sorted(folder.glob("diagnostic/*")) + sorted(folder.glob("ax/**/*")):
        if path.is_file():
            path.unlink()
    splits = ["test_matched", "test_mismatched", "test_ax"]
    data, description = load_data(DataArguments(task_name="mnli", data_dir=str(folder)), splits)
    assert list(data) == splits[:2]
    assert [file for _, file in description.prediction_files] == ["MNLI-m.tsv", "MNLI-mm.tsv"]
    assert re.fullmatch(r"AX\.tsv will not be written: .+", caplog.messages[0])
    assert len(caplog.messages) == 1
    with pytest.raises(FileNotFoundError, match="diagnostic|ax"):
        load_data(DataArguments(task_name="ax", data_dir=str(folder)), ["test"])


def test_hub_without_the_diagnostics(online, tmp_path, caplog):
    online(glue_rows.repository([task for task in GLUE_TASKS if task != "ax"]))
    data, _ = load_data(DataArguments(task_name="mnli"), ["test_matched", "test_ax"], cache_dir=str(tmp_path / "data"))
    assert "test_ax" not in data
    assert "AX.tsv will not be written: dataset 'nyu-mll/glue', configuration 'ax', cannot be had" in caplog.text


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("cola/train-00000-of-00001.parquet", b"PAR1", "dataset 'nyu-mll/glue', configuration 'cola', is malformed: "),
        ("README.md", b"---\nconfigs: [\n---\n", "dataset 'nyu-mll/glue', configuration 'cola', is malformed: "),
        (
            "cola/test-00000-of-00001.parquet",
            glue_rows.parquet(glue_rows.hub_data("cola")["train"]),
            "dataset 'nyu-mll/glue', configuration 'cola', is malformed: ",
        ),
        (
            "README.md",
            glue_rows.repository()["README.md"].replace(b"unacceptable", b"wrong"),
            "dataset 'nyu-mll/glue', configuration 'cola', split 'train': labels ('wrong', 'acceptable'), expected",
        ),
    ],
    ids=["damaged file", "damaged card", "other number of rows", "other labels"],
)
def test_malformed_hub_is_refused_in_one_line(online, tmp_path, file, content, message):
    online(glue_rows.repository() | {file: content})
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        load_data(DataArguments(task_name="cola"), cache_dir=str(tmp_path / "data"))
    assert len(str(error.value).splitlines()) == 1


def test_without_connection_the_cache_says_what_it_lacks(online, tmp_path, caplog, monkeypatch):
    online(glue_rows.repository())
    args = DataArguments(task_name="mnli")
    load_data(args, ["train"], cache_dir=str(tmp_path / "data"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    data, _ = load_data(args, ["train", "test_ax"], cache_dir=str(tmp_path / "data"))
    assert list(data) == ["train"]
    assert "AX.tsv will not be written" in caplog.text
    with pytest.raises(FileNotFoundError, match="configuration 'cola'"):
        load_data(DataArguments(task_name="cola"), cache_dir=str(tmp_path / "data"))


def test_damaged_diagnostics_are_not_passed_over(tmp_path):
    folder = samples.write_glue(tmp_path)
    samples.write_text(folder / "diagnostic" / "diagnostic.tsv", "index\tsentence1\n0\ta\n")
    with pytest.raises(ValueError, match=r"diagnostic\.tsv:1: the header has no column sentence2"):
        load_data(DataArguments(task_name="mnli", data_dir=str(folder)), ["test_ax"])


@pytest.mark.parametrize("task", ["mnli", "ax", "qnli", "wnli"])
def test_a_models_own_label_order_is_kept(folders, task):
    data, description = load_data(DataArguments(task_name=task, data_dir=str(folders["official"])))
    order = tuple(reversed(description.label_names))
    resolved = resolve_labels(description, {name.upper(): place for place, name in enumerate(order)})
    assert resolved.label_names == order
    for split in data.values():
        turned = with_label_order(split, "label", order)
        names = [order[label] if label >= 0 else None for label in turned["label"]]
        assert names == [description.label_names[label] if label >= 0 else None for label in split["label"]]
