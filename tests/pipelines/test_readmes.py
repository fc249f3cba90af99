"""Every block of code in every README is run, in order, beside the files of `pipelines/examples`.

YAML is checked as a project file. A comment before a block says what a reader sees anyway or need not know: `<!-- file: NAME -->` for a block that is kept as
a file, `<!-- not run: WHY -->` for one that cannot be run here. A line of shell ends with 0 unless its comment says
`exits 1` or `exits 2`; what a comment after `print(…)` shows is what is printed, `…` for anything.
"""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

import pytest

from headwater.components.common.settings import parse_config
from headwater.pipelines.project.model import check

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
READMES = [
    path.relative_to(CHECKOUT)
    for path in (
        CHECKOUT / "README.md",
        CHECKOUT / "pipelines/notebooks/README.md",
        CHECKOUT / "components/README.md",
        CHECKOUT / "pipelines/elyra/README.md",
        *sorted(CHECKOUT.glob("components/*/README.md")),
    )
]
_BLOCK = re.compile(r"(?:^<!-- (file|not run): ([^\n]*?) -->\n+)?^```(\w*)\n(.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    """A fenced block: its language, its text, and what the comment before it says."""

    line: int
    language: str
    text: str
    file: str
    not_run: str


def blocks(readme: pathlib.Path) -> list[Block]:
    text = (CHECKOUT / readme).read_text(encoding="utf-8")
    return [
        Block(
            text[: match.start(3)].count("\n") + 1,
            match[3],
            match[4],
            match[2] if match[1] == "file" else "",
            match[2] if match[1] == "not run" else "",
        )
        for match in _BLOCK.finditer(text)
    ]


@pytest.mark.parametrize("readme", READMES, ids=str)
def test_every_block_has_a_kind_that_is_run_or_a_reason(readme):
    found = blocks(readme)
    assert len(found) == (CHECKOUT / readme).read_text(encoding="utf-8").count("\n```") // 2
    for block in found:
        known = block.language in ("sh", "python", "text", "yaml") or block.file or block.not_run
        assert known, f"{readme}:{block.line}: what is to be done with a block of {block.language!r}?"


def _shell(block: Block) -> str:
    """A script that ends at the first line that does not end as it says, and names it."""
    lines = []
    for line in re.sub(r"\\\n", " ", block.text).splitlines():
        code = re.search(r"#.*\bexits (\d)", line)
        if line.strip() and not line.strip().startswith("#"):
            lines += [
                line,
                f'_code=$?; [ $_code -eq {code[1] if code else 0} ] || {{ echo "line: "{_quoted(line)}" exited $_code"; exit 99; }}',
            ]
    return "\n".join(lines)


def _quoted(line: str) -> str:
    return "'" + line.replace("'", "'\\''") + "'"


def _check_printed(block: Block, printed: str) -> None:
    rest = printed
    for shown in re.findall(r"^print\(.*\)\s+# (.*)$", block.text, re.M):
        pattern = ".*?".join(re.escape(part) for part in shown.split("…"))
        match = re.search(pattern, rest, re.S)
        assert match, f"line {block.line}: {shown!r} was not printed, but: {rest}"
        rest = rest[match.end() :]


@pytest.mark.slow
@pytest.mark.parametrize("readme", READMES, ids=str)
def test_every_block_runs(readme, tmp_path, monkeypatch):
    for path in (CHECKOUT / "pipelines" / "examples").iterdir():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    # Where a block loads a component's YAML it does so from the checkout.
    for name in ("components", "pipelines"):
        (tmp_path / name).symlink_to(CHECKOUT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PATH", f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    names: dict[str, object] = {"__name__": "readme"}
    for block in blocks(readme):
        if block.not_run or block.language == "text":
            continue
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "yaml":
            check(parse_config(f"{readme}:{block.line}", block.text))
        elif block.language == "sh":
            done = subprocess.run(
                ["bash", "-c", _shell(block)], capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
            assert done.returncode == 0, f"{readme}:{block.line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        else:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(block.text, f"{readme}:{block.line}", "exec"), names)
            _check_printed(block, printed.getvalue())
