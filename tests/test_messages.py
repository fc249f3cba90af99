"""What users read, as the code writes it: errors, findings, rejections, `--help` and pages, held to a few rules of style.

No module is imported; each is parsed, and every message is a template with `{}` for what is filled in.
"""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_ERRORS = ("HeadwaterError", "StoreError", "ArgumentTypeError")
_IDIOMS = re.compile(
    r"what parts|tells? of\b|\btold\b|\btells? (?:no|none|the class|which|what)\b|held against|in other words|came of it"
    r"|(?<!there) (?:is|are) no (?!longer)|(?:is|are) none\b|knows? no\b|\bstands? \w|\bthere (?:twice|already)\b"
    r"|\b(?:gives?|votes for) what\b|\bsays? (?:no|neither|exactly)\b|\bnames no\b|\bhas no order\b|\banew\b|\bthis very\b"
    r"|\bwhat is read\b|\bdoes? not do\b|\bHeadwater's own\b|\bon each side on\b|\bin words\b|\bgoes? with\b|\bmust rise\b"
)
_PLAIN_WORDS = re.compile(
    r"\bwhole numbers?\b|\bmoments?\b|\bgreatest\b|\b(?:the )least (?:and|value|number)\b|\ban eye\b|\bNOT blessed\b"
    r"|\bstands? alone\b|\bfound nothing\b|\bas in \d|\bbelongs? no\b|\bcame back empty\b"
)
_REASONS = (
    "encoding", "type", "json", "checksum", "truncated", "too_long", "corrupt_block", "damaged_length", "not_an_example",
    "timestamp", "nul_byte", "format", "nonexistent", "expression",
)  # fmt: skip
_REASON = re.compile(rf"(?:{'|'.join(_REASONS)}): \S")
_SETTING = re.compile(r"\{\}|[a-z][a-z0-9_]*(?:\.[\w{}]+)*:")


class Template(NamedTuple):
    """A message: where it is written, what it is ("error", "validator", "finding", "rejection", "help" or "page"), and its
    text."""

    file: str
    line: int
    kind: str
    text: str


def flattened(node: ast.expr | None, scope: list[ast.AST]) -> list[str]:
    """The texts that an expression may have, as templates; none where it is not written in place.

    Args:
      node: the expression.
      scope: the nodes of the function or module around it, where names are looked up.
    """
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        return ["".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)]
    if isinstance(node, ast.IfExp):
        return flattened(node.body, scope) + flattened(node.orelse, scope)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = flattened(node.left, scope), flattened(node.right, scope)
        return [one + other for one in left or ["{}"] for other in right or ["{}"]] if left or right else []
    if isinstance(node, ast.Name):
        values = [each.value for each in scope if isinstance(each, ast.Assign) and _assigns(each, node.id)]
        return [text for value in values if not isinstance(value, ast.Name) for text in flattened(value, scope)]
    return []


def _assigns(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def messages_of(call: ast.Call, pydantic: bool) -> Iterator[tuple[str, ast.expr]]:
    """The kind and expression of each message that a call takes."""
    function = call.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if name in _ERRORS:
        yield from (("error", node) for node in call.args[:1])
    elif name == "ValueError" and pydantic:
        yield from (("validator", node) for node in call.args[:1])
    elif name in ("finding", "Notice", "_impossible"):
        yield from (("finding", node) for node in call.args)
        yield from (("finding", keywords[key]) for key in ("message",) if key in keywords)
    elif name in ("add_command", "add"):
        yield from (("help", node) for node in call.args[3:4])
    if name in ("add_argument", "add_parser", "ArgumentParser"):
        yield from (("help", keywords[key]) for key in ("help", "description") if key in keywords)


def collect(file: str, source: str) -> list[Template]:
    """The templates of a module, in order."""
    tree = ast.parse(source)
    found = []
    scopes: dict[int, list[ast.AST]] = {}
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        inner = list(ast.walk(function))
        scopes.update({id(node): inner for node in inner})
    for node in ast.walk(tree):
        scope = scopes.get(id(node), tree.body)
        given: list[tuple[str, ast.expr]] = []
        if isinstance(node, ast.Call):
            given = list(messages_of(node, "import pydantic" in source))
        elif isinstance(node, ast.Dict):
            named = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
            given = [("finding", value) for key, value in zip(named, node.values) if key == "message"]
            if file.endswith("explanations.py"):
                given = [("page", value) for value in node.values]
        for kind, message in given:
            texts = flattened(message, scope) or flattened(message, list(tree.body))
            # Of a finding's arguments only sentences are messages: the others are names, kinds and severities.
            texts = [text for text in texts if kind != "finding" or " " in text]
            found += [Template(file, message.lineno, kind, text) for text in texts]
        if isinstance(node, ast.Constant | ast.JoinedStr) and ("/sources/" in file or "/shape/" in file):
            texts = flattened(node, [])
            found += [Template(file, node.lineno, "rejection", text) for text in texts if _REASON.match(text)]
    return sorted(set(found))


def collect_page(file: str, source: str) -> list[Template]:
    """The sentences of a page's template: its text, the labels of its elements, and what its expressions choose from."""
    found = []
    source = re.sub(r"(?s)<(style|script)>.*?</\1>|{#.*?#}", lambda match: "\n" * match[0].count("\n"), source)
    for number, line in enumerate(source.split("\n"), 1):
        chosen = [text for code in re.findall(r"{[{%](.*?)[%}]}", line) for text in re.findall(r'"([^"]+)"', code)]
        labels = re.findall(r'(?:aria-label|placeholder|title)="([^"]+)"', line)
        plain = re.sub(r"</?(?:code|strong|span|b|a|i)\b[^>]*>", "", re.sub(r"{{.*?}}", "{}", line))
        texts = re.split(r"{%.*?%}|<[^>]*>", plain)
        for text in [*chosen, *labels, *texts]:
            if re.search(r"[^\W\d_]{2,} [^\W\d_]", text):
                found.append(Template(file, number, "page", " ".join(text.split())))
    return sorted(set(found))


def _names_no_setting(template: Template) -> bool:
    # Before what a validator raises, `checked` puts the setting's name.
    return template.kind == "error" and template.file.endswith("settings.py") and not _SETTING.match(template.text)


RULES: dict[str, Callable[[Template], bool]] = {
    "ends with a full stop": lambda template: template.kind != "page" and template.text.endswith("."),
    "is empty": lambda template: not template.text.strip(),
    "has an idiom of the code's author": lambda template: bool(_IDIOMS.search(template.text)),
    "has a word that the field has a better one for": lambda template: bool(_PLAIN_WORDS.search(template.text)),
    "has two spaces in a row": lambda template: "  " in template.text,
    "does not begin with a setting": _names_no_setting,
    "has a percentage without a space": lambda template: bool(re.search(r"[}\d]%", template.text)),
}


@pytest.fixture(scope="module")
def templates() -> list[Template]:
    files = [file for folder in ("components", "pipelines") for file in sorted((_ROOT / folder).rglob("*.py"))]
    pages = [file for file in sorted(_ROOT.glob("components/*/templates/*.html"))]
    return [
        *(found for file in files for found in collect(str(file.relative_to(_ROOT)), file.read_text())),
        *(found for file in pages for found in collect_page(str(file.relative_to(_ROOT)), file.read_text())),
    ]


@pytest.mark.parametrize("rule", RULES)
def test_no_message_breaks_the_rule(templates, rule):
    broken = [f"{each.file}:{each.line}: {each.text}" for each in templates if RULES[rule](each)]
    assert not broken, f"each {rule}:\n" + "\n".join(broken)


def test_percentages_are_written_in_one_way():
    """By `findings.percent` or, in tables, `pages.percent`; a format of `%` leaves no space. Progress has a width to keep."""
    found = []
    for folder in ("components", "pipelines"):
        for file in sorted((_ROOT / folder).rglob("*.py")):
            formats = [
                node.format_spec
                for node in ast.walk(ast.parse(file.read_text()))
                if isinstance(node, ast.FormattedValue)
            ]
            texts = [flattened(spec, [])[0] for spec in formats if isinstance(spec, ast.JoinedStr)]
            if any(text.endswith("%") for text in texts):
                found.append(str(file.relative_to(_ROOT)))
    assert found == ["components/common/progress.py"]


def test_the_messages_are_found(templates):
    kinds = [template.kind for template in templates]
    assert len(templates) > 300
    for kind, least in (
        ("error", 300),
        ("validator", 30),
        ("finding", 40),
        ("help", 50),
        ("rejection", 20),
        ("page", 120),
    ):
        assert kinds.count(kind) > least, kind


_GOOD = """
import pydantic

def check(size, given):
    if size < 1:
        raise HeadwaterError(f"size: must be at least 1; given: {size}")
    message = f"{size} is a " f"large size"
    found.append(finding("size", "warning", message))
"""


@pytest.mark.parametrize(
    ("rule", "line", "planted"),
    [
        ("ends with a full stop", 1, 'raise HeadwaterError(f"size: {size} is too large.")'),
        ("ends with a full stop", 1, 'parser.add_argument("--size", help="the size.")'),
        (
            "ends with a full stop",
            3,
            'def check(size):\n    message = "size: too large" "."\n    raise HeadwaterError(message)',
        ),
        ("is empty", 1, 'raise StoreError("")'),
        ("is empty", 1, 'add_command(commands, "size", _size, "")'),
        ("has an idiom of the code's author", 2, 'import pydantic\nraise ValueError(f"{size!r} is no number")'),
        ("has an idiom of the code's author", 1, 'found = {"severity": "info", "message": "the size stands twice"}'),
        ("has an idiom of the code's author", 1, 'finding("size", "info", f"{rule} was " f"held against {rows} rows")'),
        ("has a word that the field has a better one for", 1, 'raise HeadwaterError("size: must be a whole number")'),
        (
            "has a word that the field has a better one for",
            1,
            'finding("size", "info", f"{rows} rows stand alone here")',
        ),
        ("has two spaces in a row", 1, 'raise HeadwaterError("size: too " + (" large" if size > 1 else "small"))'),
        ("does not begin with a setting", 1, 'raise HeadwaterError("The size is too large")'),
        ("does not begin with a setting", 1, 'raise HeadwaterError("there is no such size")'),
        ("has a percentage without a space", 1, 'finding("size", "info", f"{rows}% of the rows")'),
    ],
)
def test_a_planted_message_breaks_the_rule(rule, line, planted):
    broken = [template.line for template in collect("planted/settings.py", planted) if RULES[rule](template)]
    assert broken == [line]


@pytest.mark.parametrize(
    ("line", "planted"),
    [
        (2, '{% extends "base.html" %}\n<p>{{ eyes }} features need an eye.</p>'),
        (1, '<th scope="col">The greatest value</th>'),
        (1, '<svg aria-label="What is held against what">'),
        (1, '{{ {"last": "the size stands twice"}[size] }}'),
    ],
)
def test_a_planted_sentence_of_a_page_breaks_a_rule(line, planted):
    found = collect_page("planted/page.html", f"<style>greatest of moments</style>{planted}")
    assert [each.line for each in found if any(breaks(each) for breaks in RULES.values())] == [line]


def test_a_planted_rejection_breaks_a_rule():
    planted = 'rejections.append(Rejection(row, None, f"format: {value} is no date", None))'
    assert [each.kind for each in collect("x/sources/x.py", planted) if any(f(each) for f in RULES.values())] == [
        "rejection"
    ]


def test_good_messages_break_no_rule():
    found = collect("planted/settings.py", _GOOD)
    assert [template.text for template in found] == [
        "size: must be at least 1; given: {}", "{} is a large size",
    ]  # fmt: skip
    assert not any(breaks(template) for breaks in RULES.values() for template in found)
