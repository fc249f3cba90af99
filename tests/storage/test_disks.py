"""Local disks that are full or that cannot be written to: one clear error, and a good attempt afterwards."""

from __future__ import annotations

import subprocess

import pytest
from steps import KINDS, Steps, check_clear


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("a small disk needs the right to mount one")
    yield place
    subprocess.run(["umount", str(place)], check=True)


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
    place = tmp_path / "fixed"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("a folder that root cannot write to needs the right to mount one")
    yield place
    subprocess.run(["umount", str(place)], check=True)


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
