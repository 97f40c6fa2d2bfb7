# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import samples
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as Pillow

from logitmix_nlp.evaluation.data.columns import Columns
from logitmix_nlp.evaluation.data.labelled_rows import Rows, load_rows
from logitmix_nlp.evaluation.held_out import halves, without_shared

IDS = {"bad": 0, "good": 1}
TEXTS = ["a fine cat", "a dull dog ran", "it"]
FILES = {
    "x.csv": "text,label\na fine cat,good\na dull dog ran,bad\nit,good\n",
    "x.tsv": "label\ttext\ngood\ta fine cat\nbad\ta dull dog ran\ngood\tit\n",
    "x.json": '[{"text": "a fine cat", "label": "good"}, {"text": "a dull dog ran", "label": "bad"},'
    ' {"text": "it", "label": "good"}]',
    "x.jsonl": '{"text": "a fine cat", "label": 1}\n{"text": "a dull dog ran", "label": 0}\n'
    '{"text": "it", "label": 1}\n',
}


def picture(value: int, mode: str = "RGB") -> Pillow.Image:
    return Pillow.fromarray(np.full((4, 4, 3), value, dtype=np.uint8)).convert(mode)


@pytest.fixture
def images(tmp_path):
    """A folder of images, one folder per class."""
    for place, name in enumerate(("good", "bad", "good")):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True, exist_ok=True)
        picture(100 * place).save(folder / f"{place}.png")
    return tmp_path / "images"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("name", FILES)
def test_files_of_every_kind(tmp_path, name):
    rows = load_rows(str(samples.write_text(tmp_path / name, FILES[name])), IDS, is_text=True)
    assert [texts for (texts,) in rows.inputs] == TEXTS
    assert rows.labels.tolist() == [1, 0, 1]
    assert rows.columns == Columns(("text",), None, "label")


def test_parquet_and_saved_folders_with_class_names(tmp_path):
    features = Features({"sentence": Value("string"), "fine": ClassLabel(names=["good", "bad"])})
    data = Dataset.from_dict({"sentence": TEXTS, "fine": [0, 1, 0]}, features=features)
    data.to_parquet(tmp_path / "x.parquet")
    DatasetDict(test=data, train=data.select([1])).save_to_disk(tmp_path / "saved")
    for source, split in (("x.parquet", None), ("saved", "test")):
        rows = load_rows(str(tmp_path / source), IDS, is_text=True, split=split)
        assert rows.labels.tolist() == [1, 0, 1]
        assert rows.columns.label == "fine"
    assert len(load_rows(str(tmp_path / "saved"), IDS, is_text=True, split="train")) == 1
    assert load_rows(str(tmp_path / "saved"), IDS, is_text=True, split="test").origin.startswith("split 'test' of /")
    with pytest.raises(ValueError, match="saved has the splits test, train: name one with --split"):
        load_rows(str(tmp_path / "saved"), IDS, is_text=True)
    with pytest.raises(ValueError, match="no split 'dev', it has: test, train"):
        load_rows(str(tmp_path / "saved"), IDS, is_text=True, split="dev")


def test_pairs_of_texts(tmp_path):
    path = samples.write_text(
        tmp_path / "x.csv", "id,sentence1,sentence2,label\n7,a cat,it,good\n8,a dog,it ran,bad\n"
    )
    rows = load_rows(str(path), IDS, is_text=True)
    assert rows.inputs == [("a cat", "it"), ("a dog", "it ran")]
    swapped = load_rows(str(path), IDS, is_text=True, columns=Columns(("sentence2", "sentence1")))
    assert swapped.inputs[1] == ("it ran", "a dog")


def test_a_folder_of_images(images):
    rows = load_rows(str(images), {"good": 0, "bad": 1}, is_text=False)
    assert sorted(zip(rows.labels.tolist(), (image.getpixel((0, 0))[0] for image in rows.inputs), strict=True)) == [
        (0, 0),
        (0, 200),
        (1, 100),
    ]
    picked = rows.pick(np.array([2, 0]))
    assert [image.getpixel((0, 0)) for image in picked.inputs] == [
        rows.inputs[place].getpixel((0, 0)) for place in (2, 0)
    ]
    assert picked.labels.tolist() == [rows.labels[2], rows.labels[0]]


def test_raw_bytes_in_parquet_are_images(tmp_path, images):
    content = [{"bytes": path.read_bytes(), "path": None} for path in sorted(images.rglob("*.png"))]
    Dataset.from_dict({"img": content, "label": [0, 1, 0]}).to_parquet(tmp_path / "x.parquet")
    rows = load_rows(str(tmp_path / "x.parquet"), IDS, is_text=False)
    assert rows.inputs[1].size == (4, 4)
    assert rows.columns.image == "img"


def test_broken_and_missing_images_are_named_by_their_row(tmp_path):
    features = Features({"image": Image(), "label": Value("int64")})
    content = [{"bytes": b"no image", "path": None}, None]
    Dataset.from_dict({"image": content, "label": [0, 1]}, features=features).to_parquet(tmp_path / "x.parquet")
    rows = load_rows(str(tmp_path / "x.parquet"), IDS, is_text=False)
    for place, message in (
        (0, "parquet, row 1: column 'image' holds no readable"),
        (1, "parquet, row 2: the image of column"),
    ):
        with pytest.raises(ValueError, match=message):
            rows.inputs[place]


def test_rows_from_elsewhere_need_no_labels(tmp_path):
    path = samples.write_text(tmp_path / "x.csv", "sentence\na cat\nit\n")
    rows = load_rows(str(path), None, is_text=True, columns=Columns(label="topic"), optional_columns=True)
    assert rows.labels is None
    assert rows.inputs == [("a cat",), ("it",)]
    with pytest.raises(ValueError, match="no label column 'topic'"):
        load_rows(str(path), None, is_text=True, columns=Columns(label="topic"))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("text,label\na,good\n", {"columns": Columns(label="topic")}, "no label column 'topic'; it has: text, label"),
        ("text,topic\na,good\n", {}, "no column that is clearly the label; name it with --label_column_name"),
        ("text,label\na,good\n", {"columns": Columns(text=("body",))}, "no text column 'body'"),
        ("n,label\n1,good\n", {}, "no text column; name one with --text_column_names"),
        ("text,label\na,good\n", {"is_text": False}, "does not have an image column"),
        ("text,label\na,good\n", {"max_rows": 0}, "max_rows must be at least 1"),
        ("text,label\n", {}, "there are no rows after the header"),
        ("text,label\na,good\n ,bad\n", {}, "x.csv, row 2: the text of column 'text' is missing"),
        ("", {}, "the file is empty"),
    ],
)
def test_what_cannot_be_told_is_asked_for(tmp_path, text, options, message):
    path = samples.write_text(tmp_path / "x.csv", text)
    with pytest.raises(ValueError, match=message):
        load_rows(str(path), IDS, **{"is_text": True, **options})


def test_a_source_that_is_nowhere(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a file"):
        load_rows(str(tmp_path / "x.csv"), IDS, is_text=True)
    with pytest.raises(
        FileNotFoundError, match="neither a local folder, nor in the cache, nor to be had from the Hub"
    ):
        load_rows("nobody/nothing", IDS, is_text=True)


def test_halves_share_no_row_and_follow_the_seed(tmp_path):
    lines = "".join(f"text {n},{'good' if n % 2 else 'bad'}\n" for n in range(11))
    rows = load_rows(str(samples.write_text(tmp_path / "x.csv", "text,label\n" + lines)), IDS, is_text=True)
    fit, rest = halves(rows, seed=3)
    assert (len(fit), len(rest)) == (5, 6)
    assert set(fit.inputs) | set(rest.inputs) == set(rows.inputs)
    for part in (fit, rest):
        assert [int(text.split()[1]) % 2 for (text,) in part.inputs] == part.labels.tolist()
    assert halves(rows, seed=3)[0].inputs == fit.inputs != halves(rows, seed=4)[0].inputs
    with pytest.raises(ValueError, match="holds 3 different rows, too few"):
        halves(rows.pick(np.arange(3)), seed=0)


def made_of(texts, origin="x") -> Rows:
    return Rows(origin, [(text,) for text in texts], np.arange(len(texts)), Columns(("text",)))


def test_equal_texts_are_on_one_side():
    rows = made_of(["a"] * 3 + ["b"] * 2 + ["c", "d", "e", "f"])
    for seed in range(8):
        fit, rest = halves(rows, seed)
        assert not set(fit.inputs) & set(rest.inputs)
        assert sorted([*fit.labels, *rest.labels]) == list(range(9))
        assert 0 < len(fit) <= 4
    with pytest.raises(ValueError, match="holds 1 different row, too few"):
        halves(made_of(["a"] * 9), 0)


def test_rows_to_fit_on_are_none_of_those_to_evaluate_on(caplog, images):
    found, shared = without_shared(made_of("abcde", "fit.csv"), made_of("bdx", "test.csv"))
    assert (found.inputs, found.labels.tolist(), shared) == ([("a",), ("c",), ("e",)], [0, 2, 4], 2)
    assert "2 rows of fit.csv are also in test.csv and left out of the fit" in caplog.text
    with pytest.raises(ValueError, match="All 2 rows of copy.csv are also in x"):
        without_shared(made_of("ba", "copy.csv"), made_of("abc"))
    pictures = load_rows(str(images), IDS, is_text=False)
    found, shared = without_shared(pictures, pictures.pick(np.array([1])))
    assert (shared, found.labels.tolist()) == (1, [pictures.labels[0], pictures.labels[2]])


def test_sorting_by_length_keeps_texts_and_labels_together(tmp_path):
    rows = load_rows(str(samples.write_text(tmp_path / "x.csv", FILES["x.csv"])), IDS, is_text=True).by_length()
    assert rows.inputs == [("it",), ("a fine cat",), ("a dull dog ran",)]
    assert rows.labels.tolist() == [1, 1, 0]
