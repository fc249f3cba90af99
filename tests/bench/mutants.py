"""How many small changes of the code the unit tests notice, module by module, by the operators of Cosmic Ray.

Places that an operator can change are drawn by a fixed seed, and each is changed once. A mutant is compiled in memory, in
a process forked from one that has imported the libraries, and its tests run there until one fails: no file is touched,
and no bytecode hides a change. What survives is printed as a diff: give it a test, or know why no test can notice it.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.machinery
import importlib.util
import os
import pathlib
import random
import resource
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]

_STATE = [f"generate_statistics/state/{name}" for name in ("state", "merging", "counts", "points", "limits")]
_MERGED = [f"generate_statistics/{name}" for name in ("test_state.py", "test_statistics.py", "test_options.py")]
MODULES: dict[str, tuple[list[str], list[str], str]] = {
    "hashing": (["common/hashing"], ["common/test_hashing.py"], ""),
    "results": (["common/results"], ["common/test_results.py"], ""),
    "merging": (_STATE, _MERGED, "test_state or states_of or counts_ or merged"),
    "distances": (["validate/distances"], ["validate/test_distances.py"], "not looks_unchanged"),
    "model": (["label/weak/model", "label/weak/tally"], ["label/test_model.py"], "not oracle and not leaps"),
}
"""Files to change, below `components`, without suffix; the tests that should notice, below `tests`; which of them, where
some are slow."""


def mutants(names: Sequence[str], most: int) -> Iterator[tuple[str, str, str]]:
    """A file and its source before and after the change of a place, for every place or for `most` of them."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.operators.provider import OperatorProvider

    provider = OperatorProvider()
    sources = {name: (CHECKOUT / f"components/{name}.py").read_text() for name in names}
    variants: dict[tuple, list[tuple[type, int]]] = {}
    for name, source in sources.items():
        nodes = list(ast_nodes(get_ast(source)))
        for operator in (provider[each] for each in provider if not provider[each].arguments()):
            places = [place for node in nodes for place in operator().mutation_positions(node)]
            for occurrence, place in enumerate(places):
                variants.setdefault((name, place, operator.__module__), []).append((operator, occurrence))
    chance = random.Random(20)
    for place in chance.sample(sorted(variants), len(variants)):
        source = sources[place[0]]
        for operator, occurrence in chance.sample(variants[place], len(variants[place])):
            after = mutate_code(source, operator(), occurrence)
            if _meaning(after) not in ("", _meaning(source)):
                yield place[0], source, after
                most -= 1
                break
        if not most:
            return


def _meaning(source: str) -> str:
    """The syntax without annotations, which are not evaluated; empty where it is none."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        for field in {"annotation", "returns"} & set(node._fields):
            setattr(node, field, None)
    return ast.dump(tree)


class _Loader(importlib.machinery.SourceFileLoader):
    """Finds and loads one module with another source than its file's."""

    def __init__(self, name: str, source: str):
        super().__init__(f"headwater.components.{name.replace('/', '.')}", str(CHECKOUT / f"components/{name}.py"))
        self._source = source

    def find_spec(self, fullname, path=None, target=None):
        return importlib.util.spec_from_loader(fullname, self) if fullname == self.name else None

    def get_code(self, fullname):
        return compile(self._source, self.path, "exec", dont_inherit=True)


def run(title: str, seconds: int, *mutant: str) -> tuple[str, float]:
    """What the tests make of a file with another source: killed, survived or timeout; and their processor time."""
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        signal.alarm(20 * seconds)
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        code = 70
        try:
            if mutant:
                sys.meta_path.insert(0, _Loader(*mutant))
            import pytest

            tests = [str(CHECKOUT / "tests" / name) for name in MODULES[title][1]]
            options = ["-x", "-q", "-p", "no:xdist", "-m", "not slow", "--hypothesis-profile=mutants"]
            code = int(pytest.main([*options, "-k", MODULES[title][2], *tests]))
        finally:
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    late = -code in (signal.SIGALRM, signal.SIGKILL, signal.SIGXCPU)
    return "timeout" if late else "killed" if code else "survived", usage.ru_utime + usage.ru_stime


def main() -> int:
    """Prints what was not killed, and a line a module: how many mutants met which end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", choices=MODULES, default=list(MODULES))
    parser.add_argument("--most", type=int, default=60, help="mutants of a module, at most")
    options = parser.parse_args()
    import apache_beam  # noqa: F401
    import hypothesis
    import tensorflow_data_validation  # noqa: F401

    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", derandomize=True, phases=phases)
    for title in options.only:
        outcome, cost = run(title, 600)
        if outcome != "survived":
            sys.exit(f"{title}: its tests fail without any mutant")
        for name in MODULES[title][0]:
            if run(title, 600, name, "raise SystemError")[0] != "killed":
                sys.exit(f"{title}: a change of {name} is not seen")
        outcomes: Counter[str] = Counter()
        for name, before, after in mutants(MODULES[title][0], options.most):
            outcome, _ = run(title, int(3 * cost) + 10, name, after)
            outcomes[outcome] += 1
            if outcome != "killed":
                lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
                print("\n".join([f"{outcome}: {name}", *list(lines)[2:]]), flush=True)
        counts = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
        print(f"{title}: of {outcomes.total()} mutants {counts}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
