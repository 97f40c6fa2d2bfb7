# SPDX-License-Identifier: Apache-2.0
import image_files
import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from sklearn.datasets import load_digits
from transformers import ConvNextImageProcessorPil, ViTImageProcessorPil

from logitmix_nlp.images.datasets import ImageRows, cut_rows, digits, hold_out, read_image_folder, stored_images
from logitmix_nlp.images.pictures import (
    BadImage,
    common_size,
    make_processor,
    pixel_statistics,
    read_image,
    seen_size,
)


def test_the_digits_are_scikit_learns():
    data = digits()
    assert [len(data[name]) for name in ("train", "validation")] == [1437, 360]
    source, row = load_digits(), data["validation"][5]
    assert row["label"] == source.target[1442]
    image = np.asarray(read_image(row["image"], "here"))
    assert image.shape == (8, 8, 3)
    assert np.array_equal(image[..., 0], (source.images[1442] * 255 / 16).round())
    assert np.array_equal(image[..., 0], image[..., 2])


def test_a_folder_per_class(tmp_path):
    folder = image_files.write_folder(tmp_path, names=("dog", "cat"), each=3)
    (folder / "dog" / "2.png").rename(folder / "dog" / "2.PNG")
    (folder / "dog" / "notes.txt").write_text("no image")
    (folder / "dog" / "paper.pdf").write_text("Pillow writes such files, but reads none")
    data = read_image_folder(folder)
    assert data.features["label"].names == ["cat", "dog"]
    assert data["label"][:] == [0, 0, 0, 1, 1, 1]
    expected = image_files.picture(0, 2)  # the third dog, which was written as the first class
    assert np.array_equal(np.asarray(read_image(data[5]["image"], "here")), np.asarray(expected))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda folder: folder / "no", FileNotFoundError, "is not a folder; give one with a folder of images"),
        (lambda folder: folder, ValueError, "has no folders: its images must lie in one folder per class"),
        (lambda folder: (folder / "cat").mkdir() or folder, ValueError, "cat holds no image; remove it, or fill it"),
    ],
)
def test_a_folder_that_is_none(tmp_path, make, error, message):
    with pytest.raises(error, match=message):
        read_image_folder(make(tmp_path))


def test_a_cut_of_rows_that_lie_class_by_class_holds_all_classes(caplog):
    rows = Dataset.from_dict({"n": list(range(60)), "label": [n // 20 for n in range(60)]})
    options = {"label_column": "label", "where": "here"}
    few, more = (cut_rows(rows, limit, sample=True, train=True, **options) for limit in (9, 18))
    assert set(few["label"]) == {0, 1, 2}
    assert few["n"][:] == sorted(few["n"])
    assert len(few) == 9
    assert set(few["n"]) < set(more["n"])
    assert cut_rows(rows, None, sample=True, train=True, **options) is rows
    assert cut_rows(rows, 41, sample=False, train=True, **options)["n"][:] == list(range(41))
    with pytest.raises(ValueError, match="here: 20 rows hold 1 of 3 classes, .* raise --max_train_samples"):
        cut_rows(rows, 20, sample=False, train=True, **options)
    assert len(cut_rows(rows, 20, sample=False, train=False, **options)) == 20
    assert "20 rows hold 1 of 3 classes" in caplog.text


def test_holding_out_is_a_seeded_split_of_all_rows():
    data = {"train": Dataset.from_dict({"n": list(range(20))})}
    first, again, other = (hold_out(data, 0.15, seed) for seed in (1, 1, 2))
    assert len(first["validation"]) == 3
    assert sorted(first["train"]["n"][:] + first["validation"]["n"][:]) == list(range(20))
    assert first["validation"]["n"][:] == again["validation"]["n"][:] != other["validation"]["n"][:]
    with pytest.raises(ValueError, match="0.01 of 20 training rows leaves 20 and 0 rows"):
        hold_out(data, 0.01, 1)


def test_rows_in_memory_and_rows_made_one_by_one_are_what_the_processor_sees():
    data = image_files.rows(4)
    small = ImageRows(data, make_processor(32, 32, [0.0] * 3, [1.0] * 3, enlarged=True))
    assert ImageRows(data.select([0]), ViTImageProcessorPil(size={"height": 8, "width": 8})).shape == (3, 8, 8)
    assert small.shape == (3, 8, 8)
    for smooth in (
        make_processor(32, 32, [0.5] * 3, [0.5] * 3),
        ConvNextImageProcessorPil(size={"shortest_edge": 32}),
    ):
        resized = ImageRows(data, smooth)
        assert resized.shape == (3, 32, 32)
        for row in range(4):
            image = image_files.picture(row % 2, row)
            bytes_, made = resized[row]["pixel_values"], smooth(image, return_tensors="pt")["pixel_values"][0]
            mean, std = (torch.tensor(values)[:, None, None] for values in (smooth.image_mean, smooth.image_std))
            assert torch.allclose((bytes_ / 255 - mean) / std, made.float(), atol=1e-6)
            assert torch.equal(small[row]["pixel_values"], torch.from_numpy(np.array(image)).permute(2, 0, 1))
    assert [int(row["labels"]) for row in (small[0], small[1])] == [0, 1]
    assert set(ImageRows(data, smooth, label_column=None)[0]) == {"pixel_values"}


def test_grey_images_and_transparent_ones_become_three_channels():
    for mode in ("L", "RGBA", "P", "1", "CMYK"):
        image = image_files.picture(1, 0, mode=mode)
        assert np.array_equal(np.asarray(read_image(image, "here")), np.asarray(image.convert("RGB")))


def test_sizes_that_differ_are_named_or_resized():
    data = image_files.rows(3)
    odd = data.select(range(2)).to_list() + image_files.rows(1, size=(9, 5)).to_list()
    data = Dataset.from_list(odd, features=data.features)
    with pytest.raises(BadImage, match="train, row 3: the image is 9 pixels wide and 5 high, those before it 8 and 8"):
        common_size(data, "image", "train")
    assert common_size(data.select(range(2)), "image", "train") == (8, 8)
    resized = ImageRows(data, make_processor(16, 16, [0.0] * 3, [1.0] * 3, enlarged=True))
    assert {tuple(resized[row]["pixel_values"].shape) for row in range(3)} == {(3, 16, 16)}
    loose = ImageRows(data, ViTImageProcessorPil(size={"shortest_edge": 8}), where="train")
    assert seen_size(loose.processor) is None
    with pytest.raises(BadImage, match=r"train, row 3: the image processor made \(3, 8, 14\) of the image"):
        loose[2]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"bytes": b"GIF89a but not really", "path": "a/b.gif"}, r"x, row 1 \(a/b.gif\): not a readable image"),
        ({"bytes": None, "path": None}, r"not a readable image \(there is none\)"),
        (None, r"not a readable image \(there is none\)"),
        ("nowhere.png", r"x, row 1 \(nowhere.png\): not a readable image \(.*No such file"),
        (7, "not a readable image"),
    ],
)
def test_what_is_no_image_is_named(value, message):
    with pytest.raises(BadImage, match=message):
        read_image(value, "x, row 1")


def test_a_damaged_image_is_found_before_training():
    data = image_files.rows(3).to_list()
    data[1]["image"]["bytes"] = data[1]["image"]["bytes"][:60]
    data = Dataset.from_list(data, features=image_files.rows(1).features)
    with pytest.raises(BadImage, match="train, row 2: not a readable image"):
        ImageRows(data, make_processor(8, 8, [0.0] * 3, [1.0] * 3), where="train")


def test_statistics_are_those_of_all_pixels():
    data = image_files.rows(6)
    pixels = np.stack([np.asarray(image_files.picture(n % 2, n)) for n in range(6)]).reshape(-1, 3) / 255
    mean, std = pixel_statistics(data, "image", "train")
    assert mean == pytest.approx(pixels.mean(0), abs=1e-4)
    assert std == pytest.approx(pixels.std(0), abs=1e-4)
    black = [{"image": Image.new("RGB", (2, 2))}]
    assert pixel_statistics(FakeRows(black), "image", "train") == ([0.0] * 3, [1.0] * 3)


class FakeRows(list):
    """Rows with decoded images, which no dataset file holds."""

    def select(self, places):
        return {"image": [self[place]["image"] for place in places]}


def test_a_missing_column_and_no_rows_are_named():
    with pytest.raises(ValueError, match="f.parquet has no image column 'img'; choose with --image_column_name"):
        stored_images(image_files.rows(1), "img", "f.parquet")
    with pytest.raises(ValueError, match="f.parquet has no rows"):
        stored_images(image_files.rows(1).select([]), "image", "f.parquet")
