"""What a task leaves in its log and for the kubelet, as a process of its own does."""

import json
import os
import subprocess
import sys

import pytest

from headwater.components.common import last_words

PROGRAM = """
import logging, sys
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
from headwater.components.common.errors import HeadwaterError, clear_errors
with clear_errors():
    logging.getLogger("kfp").warning("kept")
    print("collect: write: 3 rows", flush=True)
    print("warning: a", "b\\u00fc", file=sys.stderr, sep=" ")
    print("in ", end="")
    print("parts")
    if sys.argv[1:]:
        raise HeadwaterError("orders.csv: row 3 is bad") if sys.argv[1] == "known" else ValueError("lost")
"""


def run(*arguments, form="json"):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "HEADWATER_LOG": form},
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def test_each_line_is_an_object_with_its_severity():
    code, out, err = run("known")
    told = [json.loads(line) for line in out + err]
    assert all(set(each) == {"time", "severity", "message"} and each["time"].endswith("+00:00") for each in told)
    assert [(each["severity"], each["message"]) for each in told] == [
        ("WARNING", "kept"),
        ("INFO", "collect: write: 3 rows"),
        ("INFO", "in parts"),
        ("WARNING", "a bü"),
        ("ERROR", "orders.csv: row 3 is bad"),
    ]
    assert code == 1


def test_a_traceback_is_objects_too_and_ends_with_the_exception():
    code, _, err = run("unknown")
    assert code == 1 and json.loads(err[-1])["message"] == "ValueError: lost"
    assert all(json.loads(line) for line in err)


@pytest.mark.parametrize("form", ["", "text"])
def test_without_it_lines_are_plain(form):
    code, out, err = run("known", form=form)
    assert (code, out[1], err[-1]) == (1, "collect: write: 3 rows", "error: orders.csv: row 3 is bad")


def test_another_form_is_refused():
    assert run(form="yaml")[2] == ["error: HEADWATER_LOG: must be text or json; given: 'yaml'"]


@pytest.mark.parametrize("length", [1, 4096, 4097, 9000])
@pytest.mark.parametrize("letter", ["a", "ü", "雨"])
def test_the_kubelet_gets_the_sentence_cut_to_what_it_takes(tmp_path, length, letter):
    path = tmp_path / "termination-log"
    path.write_text("earlier" * 1000)
    sentence = letter * length
    last_words.leave(sentence, str(path))
    left = path.read_bytes()
    assert len(left) <= 4096
    text = left.decode()
    assert text == sentence if len(sentence.encode()) <= 4096 else sentence.startswith(text[:-1]) and text[-1] == "…"


def test_where_there_is_no_such_file_none_is_made(tmp_path):
    last_words.leave("lost", str(tmp_path / "termination-log"))
    assert not list(tmp_path.iterdir())
