#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Put single faults into a scratch copy of the code and see which of them the tests notice. Not part of CI.

    python scripts/mutation_run.py logitmix_nlp/hub --count 50 --seed 1 --output runs/faults.json

Tests are imported once. For each fault a process is forked, in which functions, classes and constants that the fault
changes are replaced (and the file on disk, for tests that start processes). Then the tests nearest to the file run
until one fails that passes without the fault, first those that noticed a fault before. Survivors are printed as diffs.
"""

import argparse
import contextlib
import difflib
import functools
import inspect
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import types
from ast import Constant, Import, ImportFrom, parse, walk
from collections import Counter
from pathlib import Path

import pytest
from mutation_faults import mutants

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("logitmix_nlp", "glue_runs", "scripts")
ABOUT_SOURCES = ("test_docs", "test_imports")  # tests that look at text, not at what it does
PARTS = ("__code__", "__defaults__", "__kwdefaults__")


# ---- Tests of a file ----


@functools.cache
def test_order(root: Path, file: Path) -> list[Path]:
    """Test files that reach a source file by imports, the nearest first, the smaller first among equals."""
    tests = sorted(path for path in (root / "tests").rglob("test_*.py") if path.stem not in ABOUT_SOURCES)
    modules = {_module(root, path): path for package in PACKAGES for path in (root / package).rglob("*.py")}
    known = {**modules, **{path.stem: path for path in (root / "tests").rglob("*.py")}}
    uses = {path: {known[name] for name in _imports(root, path) if name in known} for path in known.values()}
    near = {file: 0}
    for distance in range(1, 6):
        reached = {path for path, used in uses.items() if any(near.get(one, 9) < distance for one in used)}
        near |= dict.fromkeys(reached - near.keys(), distance)
    stem = file.parent.name if file.stem == "__init__" else file.stem
    place = root / "tests" / "/".join(file.parent.relative_to(root).parts[file.is_relative_to(root / PACKAGES[0]) :])

    def rank(test: Path) -> tuple:
        return stem not in test.stem, test.parent != place, near.get(test, 9), test.stat().st_size

    return sorted((test for test in tests if test in near or stem in test.stem), key=rank)


@functools.cache
def _imports(root: Path, file: Path) -> set[str]:
    """Dotted names that a file imports, by a statement or as text (lazily, with `-m`, or a script's path)."""
    text, found = file.read_text(encoding="utf-8"), set()
    for node in walk(parse(text)):
        if isinstance(node, Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, Constant) and isinstance(node.value, str):
            if "." in node.value:
                found |= {node.value, node.value.replace("/", ".").removesuffix(".py"), f"scripts.{node.value[:-3]}"}
            elif file.stem == "__init__":
                found.add(f"{_module(root, file)}.{node.value}")
    return found


def _module(root: Path, path: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


# ---- A fault in modules that were imported without it ----


def graft(module: types.ModuleType, source: str) -> int:
    """Give what a module holds the code, defaults and values it would have with another source; count the changes."""
    fresh = types.ModuleType(module.__name__)
    fresh.__dict__.update({name: module.__dict__[name] for name in ("__file__", "__package__", "__spec__")})
    exec(compile(source, module.__file__, "exec"), fresh.__dict__)
    changes = 0
    for name, new in vars(fresh).items():
        old = vars(module).get(name)
        if isinstance(new, type) and isinstance(old, type) and new.__module__ == module.__name__:
            changes += _graft_class(old, new)
        elif _function(new) is not None and _function(old) is not None:
            changes += _graft_function(module, name, old, new)
        elif not name.startswith("__") and _shown(new) != _shown(old):
            changes += 1
            for holder in [
                one for one in sys.modules.values() if getattr(one, "__dict__", {}).get(name, module) is old
            ]:
                setattr(holder, name, new)
    return changes


def _graft_class(old: type, new: type) -> int:
    changes = 0
    for name in vars(old).keys() - vars(new).keys() - {"__abstractmethods__", "_abc_impl"}:
        delattr(old, name)
        changes += 1
    for name, value in list(vars(new).items()):
        before = vars(old).get(name)
        if _function(value) is not None and _function(before) is not None:
            changes += _graft_function(old, name, before, value)
        elif name not in ("__dict__", "__weakref__", "__doc__", "_abc_impl") and _shown(value) != _shown(before):
            setattr(old, name, value)
            changes += 1
    return changes


def _graft_function(holder: object, name: str, old: object, new: object) -> int:
    """Change a function where it is, so that all who imported it see it; or replace it, if its closure differs."""
    one, other = _function(old), _function(new)
    changed = [part for part in PARTS if _shown(getattr(one, part)) != _shown(getattr(other, part))]
    try:
        for part in changed:
            setattr(one, part, getattr(other, part))
    except ValueError:
        setattr(holder, name, new)
    return len(changed)


def _function(value: object) -> types.FunctionType | None:
    """The function within decorators, properties, class methods and static methods."""
    value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    value = inspect.unwrap(value) if callable(value) else None
    return value if isinstance(value, types.FunctionType) else None


def _shown(value: object) -> object:
    """What to compare values by: code as its bytes, constants and names, all else as text without addresses."""
    if isinstance(value, types.CodeType):
        return value.co_code, value.co_names, value.co_varnames, tuple(_shown(one) for one in value.co_consts)
    return type(value).__name__, re.sub(r" at 0x[0-9a-f]+", "", repr(value))


# ---- Running ----


class Jury:
    """Pytest plugin that judges faults (`chosen`: file below `root`, kind, source) instead of running tests."""

    def __init__(self, root: Path, chosen: list[tuple[Path, str, str]], args: argparse.Namespace):
        self.root, self.chosen, self.args = root, chosen, args
        self.results: list[dict] = []
        self.sound: dict[str, bool] = {}  # whether a test that failed passes without a fault
        self._noticed: dict[Path, list[str]] = {}
        self._times: dict[str, float] = {}
        self._kills: Counter[str] = Counter()
        self._report, self._last = root / ".first_failure", root / ".durations"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Judge every fault."""
        if session.testsfailed:
            raise session.Interrupted("tests cannot be collected without a fault")
        for file, kind, fault in self.chosen:
            lines = file.read_text(encoding="utf-8").splitlines(), fault.splitlines()
            diff = "\n".join(list(difflib.unified_diff(*lines, lineterm="", n=2))[2:])
            found = {"file": str(file.relative_to(self.root)), "kind": kind, **self._judge(session.items, file, fault)}
            self.results.append({**found, "diff": diff})
            print(len(self.results), *found.values(), "" if "by" in found else diff, flush=True)
            if self.args.output is not None:
                record = {"seed": self.args.seed, "sound": self.sound, "faults": self.results}
                self.args.output.write_text(json.dumps(record, indent=1))
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Stop at the first failure; called in forked processes only."""
        if report.when == "call":
            with self._last.open("a") as file:
                file.write(f"{report.duration}\t{report.nodeid}\n")
        if report.failed:
            self._report.write_text(report.nodeid)
            os._exit(1)

    def _judge(self, items: list[pytest.Item], file: Path, fault: str) -> dict[str, object]:
        near = self.args.tests or test_order(self.root, file)[: self.args.files]
        seen, times = self._noticed.setdefault(file, []), self._times
        ranked = [item for item in items if item.path in near]

        def price(item: pytest.Item) -> tuple[bool, float]:
            likely = 1 + 4 * self._kills[item.nodeid] + 4 * (file.stem in item.path.stem)
            return item.nodeid not in seen, times.get(item.nodeid, 0.5) / likely

        ranked.sort(key=price)
        source, used, left = file.read_text(encoding="utf-8"), 0.0, list(ranked)
        while left:
            file.write_text(fault, encoding="utf-8")
            found, spent = self._run(left, file, fault)
            file.write_text(source, encoding="utf-8")
            times.update((test, float(seconds)) for seconds, test in self._ran())
            used += spent
            if found is None:
                break
            place = next((place for place, item in enumerate(left) if item.nodeid == found), None)
            if found not in self.sound:
                suspects = left[:3] if place is None else [left[place]]
                self.sound[found] = self._run(suspects, file, None)[0] is None
            if self.sound[found]:
                seen.append(found)
                self._kills[found] += 1
                return {"outcome": "died", "by": found, "seconds": round(used, 1)}
            left = [] if place is None else left[place + 1 :]
        return {"outcome": "survived", "tests": f"{len(self._ran())} of {len(ranked)}", "seconds": round(used, 1)}

    def _ran(self) -> list[list[str]]:
        """Seconds and names of the tests of the last run."""
        return [line.split("\t", 1) for line in self._last.read_text().splitlines()]

    def _run(self, items: list[pytest.Item], file: Path, fault: str | None) -> tuple[str | None, float]:
        """First test that fails, or the status of a process that broke down, or `None`; and CPU seconds."""
        self._report.unlink(missing_ok=True)
        self._last.write_text("")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        child = os.fork()
        if not child:
            try:
                self._run_here(items, file, fault)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(99)
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # processes that a test left behind
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found = self._report.read_text() if self._report.is_file() else f"{file.name} ended with status {status}"
        return found if status else None, used

    def _run_here(self, items: list[pytest.Item], file: Path, fault: str | None) -> None:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (4 * self.args.seconds, 4 * self.args.seconds))
        log = os.open(self.root / ".log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        module = sys.modules.get(_module(self.root, file))
        if fault is not None and module is not None:
            graft(module, fault)
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            if fault is not None and sum(os.times()[:4]) > self.args.seconds:
                break


def main(argv: list[str] | None = None) -> int:
    """Draw faults, judge them, print the survivors and the score."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="+", type=Path, help="files or folders of source to put faults into")
    parser.add_argument("--count", type=int, default=50, help="how many faults")
    parser.add_argument("--seed", type=int, default=0, help="which faults")
    parser.add_argument("--files", type=int, default=20, help="how many test files to try, the nearest first")
    parser.add_argument("--tests", nargs="+", default=[], help="test files to try instead")
    parser.add_argument("--seconds", type=int, default=60, help="CPU seconds of tests for one fault")
    parser.add_argument("--output", type=Path, help="JSON file of all faults and what became of them")
    args = parser.parse_args(argv)
    files = sorted({f.resolve() for path in args.paths for f in (path.rglob("*.py") if path.is_dir() else [path])})
    if args.output is not None:
        args.output = args.output.resolve()
        args.output.parent.mkdir(parents=True, exist_ok=True)
    pool = [(file, kind, fault) for file in files for kind, fault in mutants(file)]
    drawn = random.Random(args.seed).sample(pool, min(args.count, len(pool)))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tree"
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".*_cache"))
        chosen = [(root / file.relative_to(ROOT), kind, fault) for file, kind, fault in drawn]
        args.tests = [root / test for test in args.tests]
        near = {test for file, _, _ in chosen for test in args.tests or test_order(root, file)[: args.files]}
        jury = Jury(root, chosen, args)
        os.chdir(root)
        os.environ.update(PYTHONPATH=str(root), PYTHONDONTWRITEBYTECODE="1")
        sys.path[:0] = [str(root), str(root / "tests")]
        quiet = f"-q -s -p no:cacheprovider -p no:xdist --timeout=1200 --basetemp={folder}/tmp".split()
        code = pytest.main([*quiet, *map(str, sorted(near))], plugins=[jury])
        os.chdir(ROOT)
    unsound = sorted(test for test, passes in jury.sound.items() if not passes)
    died = sum(result["outcome"] == "died" for result in jury.results)
    print(f"Not counted, since they fail without a fault, too: {', '.join(unsound) or 'none'}")
    print(f"{died} of {len(jury.results)} faults died (seed {args.seed}; {len(pool)} in {len(files)} files).")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
