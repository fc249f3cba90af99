from __future__ import annotations

import concurrent.futures

import pytest

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError


def test_only_one_of_many_creates_a_file(tmp_path):
    uri = str(tmp_path / "folder" / "file")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: storage.create(uri, str(number).encode()), range(64)))
    assert won.count(True) == 1
    assert storage.read_bytes(uri) == str(won.index(True)).encode()
    assert [file.uri for file in storage.list_files(str(tmp_path))] == [uri]


def test_expand_takes_files_folders_and_globs_and_passes_over_hidden_names(tmp_path):
    for name in ["a.csv", "b.csv", "_SUCCESS", ".hidden.csv", "deep/c.csv", "deep/_x/d.csv", "e[1].csv"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")

    def names(pattern):
        return [storage.relative(file.uri, str(tmp_path)) for file in storage.expand(str(tmp_path / pattern))]

    assert names("") == ["a.csv", "b.csv", "deep/c.csv", "e[1].csv"]
    assert names("a.csv") == ["a.csv"]
    assert names("e[1].csv") == ["e[1].csv"]
    assert names("?.csv") == ["a.csv", "b.csv"]
    assert names("**/c.csv") == ["deep/c.csv"]
    with pytest.raises(HeadwaterError, match="no file matches"):
        names("*.parquet")
    with pytest.raises(HeadwaterError, match="no such file or folder"):
        names("missing")


def test_a_scheme_that_is_not_supported_is_named(tmp_path):
    with pytest.raises(HeadwaterError, match="ftp://"):
        storage.expand("ftp://host/file.csv")


def test_a_file_uri_is_a_path_and_may_be_escaped(tmp_path):
    (tmp_path / "python3.csv").write_text("x")
    escaped = f"file://{tmp_path}/%70ython3.csv"
    assert storage.read_bytes(storage.normalise(escaped)) == b"x"
    assert storage.normalise(escaped) == str(tmp_path / "python3.csv")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(HeadwaterError, match="nowhere: there is no such file"):
        storage.read_bytes(str(tmp_path / "nowhere"))


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(HeadwaterError, match="file"):
        storage.write_bytes(str(tmp_path / "file" / "below" / "x"), b"")
