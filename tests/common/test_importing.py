"""While modules load nobody looks for garbage; afterwards it is as before, whatever happened. Few load at all."""

import gc
import subprocess
import sys
import textwrap

import pytest

from headwater.components.common import lazy
from headwater.components.common.importing import uncollected
from headwater.components.generate_statistics import compute_statistics


def test_garbage_is_looked_for_again_afterwards_and_only_where_it_was_before():
    assert gc.isenabled()
    with uncollected():
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(AttributeError):
        lazy.lazy("headwater.components.common", {"nothing": "lazy"})("nothing")
    assert gc.isenabled()
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_small_commands_import_no_library_that_they_do_not_use(few_flights, tmp_path):
    statistics, schema = (str(tmp_path / name) for name in ("statistics", "schema"))
    compute_statistics(str(few_flights), statistics, workers=1)
    script = """
        import sys
        from headwater.pipelines.cli import main
        assert main(sys.argv[1:]) == 0
        print([name for name in ("pandas", "scipy", "apache_beam", "tensorflow", "kfp") if name in sys.modules])
    """
    for command, needed in (
        (["infer-schema", statistics, "--output", schema], ["scipy"]),
        (["validate", statistics, schema, "--output", str(tmp_path / "verdict")], []),
    ):
        run = [sys.executable, "-c", textwrap.dedent(script), *command, "--quiet"]
        done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == str(needed), command
