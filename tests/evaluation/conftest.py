# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import samples
import zoo
from PIL import Image
from transformers import ViTImageProcessor


@pytest.fixture
def model(tmp_path):
    """A text classifier whose class ids are not in the alphabetical order of the names."""
    names = {"id2label": {0: "good", 1: "bad", 2: "fair"}, "label2id": {"good": 0, "bad": 1, "fair": 2}}
    return samples.write_model(tmp_path / "model", 3, hidden_dropout_prob=0.1, **names)


@pytest.fixture
def image_model(tmp_path):
    zoo.build("vit").save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    random = np.random.default_rng(0)
    for place in range(12):
        folder = tmp_path / "images" / f"class {place % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 255, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert("L" if place == 5 else "RGB").save(folder / f"{place:02}.png")
    return tmp_path / "images"
