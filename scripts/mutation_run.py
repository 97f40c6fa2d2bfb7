#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Put single faults into a copy of the code, one at a time, and see which of them the tests notice. Not part of CI.

    python scripts/mutation_run.py logitmix_nlp/mixing glue_runs/grid --count 50 --seed 1 --jobs 2

For each fault a process is forked that imports the project with it and runs the nearest test files (by name, folder
and imports) until a test fails or the time is over. Survivors are printed as diffs.
"""

import argparse
import difflib
import functools
import importlib.util
import io
import multiprocessing
import os
import runpy
import shutil
import signal
import sys
import tempfile
from ast import Constant, Import, ImportFrom, parse, walk
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from mutation_faults import draw

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("logitmix_nlp", "glue_runs", "scripts")
ABOUT_SOURCES = ("test_docs", "test_imports", "test_wheel")  # tests that look at text, not at what it does
SLOW_IMPORTS = ("scipy.stats", "transformers.pipelines", "transformers.trainer")
FORK = multiprocessing.get_context("fork")


# ---- Tests of a file ----


@functools.cache
def test_order(file: str) -> list[str]:
    """Test files that reach a source file by imports, the nearest first, the smaller first among equals."""
    source = ROOT / file
    tests = sorted(path for path in (ROOT / "tests").rglob("test_*.py") if path.stem not in ABOUT_SOURCES)
    modules = {_module(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    known = {**modules, **{path.stem: path for path in (ROOT / "tests").rglob("*.py")}}
    uses = {path: {known[name] for name in _imports(path) if name in known} for path in known.values()}
    near = {source: 0}
    for distance in range(1, 6):
        reached = {path for path, used in uses.items() if any(near.get(one, 9) < distance for one in used)}
        near |= dict.fromkeys(reached - near.keys(), distance)
    stem = source.parent.name if source.stem == "__init__" else source.stem
    place = ROOT / "tests" / "/".join(Path(file).parent.parts[file.startswith(PACKAGES[0]) :])

    def rank(test: Path) -> tuple:
        return test.parent != place, stem not in test.stem, near.get(test, 9), test.stat().st_size

    nearest = sorted((test for test in tests if test in near or stem in test.stem), key=rank)
    return [str(test.relative_to(ROOT)) for test in nearest]


@functools.cache
def _imports(file: Path) -> set[str]:
    """Dotted names that a file imports, by a statement or as text (lazily, with `-m`, or a script's path)."""
    text, names = file.read_text(encoding="utf-8"), set()
    for node in walk(parse(text)):
        if isinstance(node, Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, Constant) and isinstance(node.value, str):
            if "." in node.value:
                names |= {node.value, node.value.replace("/", ".").removesuffix(".py"), f"scripts.{node.value[:-3]}"}
            elif file.stem == "__init__":
                names.add(f"{_module(file)}.{node.value}")
    return names


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _left_out(folder: str, names: list[str]) -> set[str]:
    return {".git", ".venv", "runs"} if folder == str(ROOT) else {"__pycache__"}


# ---- One fault ----


class FirstFailure:
    """Pytest plugin: the first test that fails, and an end when so much CPU time is used up."""

    def __init__(self, seconds: float):
        self.seconds, self.test = seconds, None

    def is_over(self) -> bool:
        """Whether no other test is to run."""
        return self.test is not None or sum(os.times()[:4]) > self.seconds

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a test that fails."""
        if report.failed:
            self.test = report.nodeid
        elif self.is_over():
            pytest.exit("The time is over.")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep a file that cannot be imported."""
        if report.failed:
            self.test = report.nodeid


def _import_once() -> None:
    """Import what the tests import, as they do: offline, and with loggers that write where nobody looks."""
    sys.path.insert(0, str(ROOT / "tests"))
    with redirect_stderr(io.StringIO()):
        runpy.run_path(str(ROOT / "tests" / "conftest.py"))
        for name in SLOW_IMPORTS:
            importlib.import_module(name)
    sys.path.pop(0)


def _run_here(tree: Path, tests: list[list[str]], seconds: float, sender: Connection) -> None:
    """Send the first of the tests to fail, or `None`; tests are imported group by group."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.chdir(tree)
    os.environ["PYTHONPATH"] = str(tree)
    sys.path[:0] = [str(tree), str(tree / "tests")]
    first = FirstFailure(seconds)
    options = f"-x -p no:cacheprovider -p no:xdist --timeout=200 --basetemp={tree.parent / 'scratch'}".split()
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # plugins that are loaded already
    for group in filter(None, tests):
        if not first.is_over():
            pytest.main([*options, *group], plugins=[first])
    sender.send(first.test)


def first_failure(tree: Path, tests: list[list[str]], seconds: float = 1e9) -> str | None:
    """The first test that fails in a tree, in a process of its own; or how that process broke down."""
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_run_here, args=(tree, tests, seconds, sender))
    process.start()
    process.join()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # processes that a test left behind
    return receiver.recv() if receiver.poll() else f"(process ended with status {process.exitcode})"


@functools.cache
def _own_tree(clean: Path) -> tuple[Path, dict[str, list[str]]]:
    """A copy of the tree for this process, and the tests that noticed faults in a file before."""
    return shutil.copytree(clean, clean.parent / str(os.getpid()) / "tree"), {}


def judge(clean: Path, file: str, fault: str, seconds: float) -> str | None:
    """The test that notices a fault, or `None`."""
    tree, noticed = _own_tree(clean)
    target, before = tree / file, noticed.setdefault(file, [])
    compiled = Path(importlib.util.cache_from_source(target))
    compiled.unlink(missing_ok=True)
    target.write_text(fault, encoding="utf-8")
    test = first_failure(tree, [before, *([test] for test in test_order(file))], seconds)
    compiled.unlink(missing_ok=True)
    shutil.copy2(clean / file, target)
    if test is not None and "::" in test and test not in before:
        before.append(test)
    return test


def main(argv: list[str] | None = None) -> int:
    """Draw faults, judge them, print the survivors and the score."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="+", type=Path, help="files or folders of source to put faults into")
    parser.add_argument("--count", type=int, default=50, help="how many faults")
    parser.add_argument("--seed", type=int, default=0, help="which faults")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    parser.add_argument("--seconds", type=float, default=60, help="CPU time for the tests of one fault")
    args = parser.parse_args(argv)
    files = sorted({f.resolve() for path in args.paths for f in (path.rglob("*.py") if path.is_dir() else [path])})
    drawn = [(str(file.relative_to(ROOT)), kind, fault) for file, kind, fault in draw(files, args.count, args.seed)]
    _import_once()
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(args.jobs, FORK) as workers:
        clean = Path(folder) / "clean"
        shutil.copytree(ROOT, clean, ignore=_left_out)
        judged = [workers.submit(judge, clean, file, fault, args.seconds) for file, _, fault in drawn]
        for number, ((file, kind, fault), verdict) in enumerate(zip(drawn, judged, strict=True), start=1):
            print(number, file, kind, f"died: {verdict.result()}" if verdict.result() else "SURVIVED", flush=True)
            if verdict.result() is None:
                lines = (clean / file).read_text(encoding="utf-8").splitlines(), fault.splitlines()
                print(*list(difflib.unified_diff(*lines, lineterm="", n=2))[2:], sep="\n", flush=True)
        tests = sorted({verdict.result() for verdict in judged if "::" in (verdict.result() or "")})
        unsound = [test for test in tests if first_failure(clean, [[test]])]
    died = sum(verdict.result() is not None for verdict in judged)
    print(f"{died} of {len(drawn)} faults died (seed {args.seed}, {len(files)} files).")
    if unsound:
        print("The score does not count: without a fault, too, there fail", *unsound)
    return int(bool(unsound))


if __name__ == "__main__":
    sys.exit(main())
