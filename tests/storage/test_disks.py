"""Local disks that are full or that cannot be written to: one clear error, and a good attempt afterwards."""

from __future__ import annotations

import contextlib
import subprocess

import pytest
from steps import KINDS, Steps, check_clear


@contextlib.contextmanager
def mounted(place, options):
    """A file system in memory, mounted at `place`."""
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "disk", "size=1m") as place:
        yield place


@pytest.mark.parametrize("step", KINDS)
def test_a_full_disk_ends_in_one_clear_error(zygote, tmp_path, small_disk, step):
    steps = Steps(str(small_disk / "root"), tmp_path)
    log = tmp_path / "log"
    before = list(KINDS)[: list(KINDS).index(step)]
    for each in before:
        code, text = zygote.run(steps.argv(each), log)
        assert code == 0, text
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"x" * 512)
        except OSError:
            pass
    code, text = zygote.run(steps.argv(step), log)
    assert code == 2, text
    check_clear(text)
    assert "No space left on device" in text
    filler.unlink()
    assert not steps.is_committed(step)


@pytest.fixture
def read_only(tmp_path):
    with mounted(tmp_path / "fixed", "ro") as place:
        yield place


def test_a_folder_that_cannot_be_written_to_ends_in_one_clear_error(zygote, tmp_path, read_only):
    log = tmp_path / "log"
    code, text = zygote.run(Steps(str(read_only / "root"), tmp_path).argv("collect"), log)
    assert code == 2, text
    check_clear(text)
    assert "Read-only file system" in text
    steps = Steps(str(tmp_path / "root"), tmp_path)
    code, text = zygote.run(steps.argv("collect", output=str(read_only / "out")), log)
    assert code == 2 and "Read-only file system" in text
    check_clear(text)
    code, text = zygote.run(steps.argv("collect"), log)
    assert code == 0, text
