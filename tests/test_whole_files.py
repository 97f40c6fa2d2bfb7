# SPDX-License-Identifier: Apache-2.0
"""A file is seen with its old content or its new one, never with half of it."""

import os
import stat

import pytest

from logitmix_nlp.whole_files import write_json, write_whole


def test_content_arrives_and_nothing_else_is_left(tmp_path):
    write_whole(tmp_path / "new" / "a.txt", "é\r\nb")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "é\r\nb".encode()
    write_whole(tmp_path / "new" / "a.txt", b"\xff")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"\xff"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


@pytest.mark.parametrize("dies_in", ["fsync", "replace"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, dies_in):
    write_json(tmp_path / "a.json", {"old": 1})

    def die(*args):
        raise OSError("no space left")

    monkeypatch.setattr(os, dies_in, die)
    with pytest.raises(OSError, match="no space left"):
        write_json(tmp_path / "a.json", {"new": 2})
    assert (tmp_path / "a.json").read_text() == '{\n  "old": 1\n}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_permissions_stay_and_of_a_link_the_target_is_replaced(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o640
