# SPDX-License-Identifier: Apache-2.0
"""What counts of the files of a run."""

import pytest

from glue_runs.runs import content


@pytest.mark.parametrize("size", [3, 3 * 2**20])
def test_of_large_splits_the_ends_of_each_file_count(tmp_path, monkeypatch, size):
    path, values = tmp_path / "x.csv", {"train_file": str(tmp_path / "x.csv")}

    def digest(changed=None):
        data = bytearray(size)
        if changed is not None:
            data[changed] = 1
        path.write_bytes(data)
        content._file_digest.cache_clear()
        return content.digests(values, ["train"])["train"]

    places = (0, size // 6, size // 2, size - 1 - size // 6, size - 1)
    whole = [digest(place) == digest() for place in places]
    monkeypatch.setattr(content, "_LARGE", 2)
    large = [digest(place) == digest() for place in places]
    assert whole == [False] * 5
    assert large == [False, False, size > 3, False, False]


def test_images_mix_their_pixels_whatever_site_is_named_behind_them():
    before, now = {"mix_site": "input|layer:-1"}, {"mix_site": "input|embeddings"}
    assert content.differences(before, now, {}, {}) == ["mix_site: 'input|layer:-1' there, 'input|embeddings' now"]
    images = {"image_column_name": "image"}
    assert content.differences({**before, **images}, {**now, **images}, {}, {}) == []
    assert len(content.differences({**before, **images}, {"mix_site": "layer:1", **images}, {}, {})) == 1
