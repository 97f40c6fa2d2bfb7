# SPDX-License-Identifier: Apache-2.0
"""Single faults that `mutation_run.py` puts into source code."""

import ast
import contextlib
import copy
import random
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["draw"]

OTHERS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
HELP = ("help", "metadata", "description")


def faults(tree: ast.Module) -> Iterator[tuple[str, ast.AST, ast.AST | None]]:
    """Kind of fault, the node, and what takes its place (`None`: nothing)."""
    for node in _live(tree):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in OTHERS:
            yield "comparison", node, _with(node, ops=[OTHERS[type(node.ops[0])](), *node.ops[1:]])
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            yield "condition", node.test, ast.UnaryOp(ast.Not(), node.test)
        if isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in OTHERS:
            yield "operator", node, _with(node, op=OTHERS[type(node.op)]())
        if isinstance(node, ast.BoolOp):
            for rest in _without_one(node.values):
                yield "operand", node, rest[0] if len(rest) == 1 else _with(node, values=rest)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            yield "operator", node, node.operand
        if isinstance(node, ast.Call):
            yield from _faults_of_call(node)
        if isinstance(node, ast.Constant):
            yield from (("constant", node, ast.Constant(value)) for value in _other_values(node.value))
        if isinstance(node, ast.Dict) and len(node.keys) > 1:
            for keys, values in zip(_without_one(node.keys), _without_one(node.values), strict=True):
                yield "entry", node, ast.Dict(keys, values)
        if isinstance(node, ast.Expr | ast.Raise | ast.Continue | ast.Break) or _is_kept(node):
            yield "statement", node, None
        if isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
            yield "returned value", node, ast.Return(ast.Constant(None))


def _faults_of_call(node: ast.Call) -> Iterator[tuple[str, ast.AST, ast.AST]]:
    for keyword, rest in zip(node.keywords, _without_one(node.keywords), strict=True):
        if keyword.arg not in HELP:
            yield "keyword", node, _with(node, keywords=rest)
    one_order = ast.unparse(node.func) not in ("min", "max") and not any(isinstance(x, ast.Starred) for x in node.args)
    if len(node.args) > 1 and one_order:
        yield "swapped arguments", node, _with(node, args=[node.args[1], node.args[0], *node.args[2:]])
    if isinstance(node.func, ast.Attribute) and not node.args and not node.keywords:
        yield "call", node, node.func.value


def _live(tree: ast.Module) -> Iterator[ast.AST]:
    """Nodes that run: no annotations, docstrings, imports and `__all__`, no messages and help texts."""
    queue: list[ast.AST] = [tree]
    while queue:
        node = queue.pop()
        yield node
        fields = [(name, value) for name, value in ast.iter_fields(node) if name not in ("annotation", "returns")]
        if isinstance(node, ast.Raise) or (
            isinstance(node, ast.Call) and re.search("logger|warn", ast.unparse(node.func))
        ):
            fields = []
        for _, value in fields:
            children = value if isinstance(value, list) else [value]
            queue += [child for child in children if isinstance(child, ast.AST) and not _is_silent(child)]


def _is_silent(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant | ast.Yield)
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) == "__all__"
    return isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom) or getattr(node, "arg", "") in HELP


def _is_kept(node: ast.AST) -> bool:
    """Whether an assignment outlives its function, so that leaving it out is no certain `NameError`."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    known = isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign)
    return known and isinstance(targets[0], ast.Attribute | ast.Subscript)


def _other_values(value: object) -> list[object]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, *([0] if value else [])]
    return [value + "x"] if isinstance(value, str) and value else []


def _without_one(values: list) -> list[list]:
    return [[value for place, value in enumerate(values) if place != left_out] for left_out in range(len(values))]


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    vars(changed).update(fields)
    return changed


def with_fault(source: bytes, node: ast.AST, other: ast.AST | None) -> str | None:
    """Source with `other` in the place of `node`, and nothing else changed; `None` if that is no fault."""
    starts = [0]
    for line in source.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    text = "pass" if other is None else ast.unparse(ast.fix_missing_locations(other))
    text = f"({text})" if isinstance(node, ast.expr) else text
    first, last = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
    changed = (source[:first] + text.encode() + source[last:]).decode()
    with contextlib.suppress(SyntaxError):
        return changed if ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source)) else None


def draw(files: list[Path], count: int, seed: int) -> list[tuple[Path, str, str]]:
    """File, kind and whole source of `count` faults at most, drawn from all of the files."""
    sources = {file: file.read_bytes() for file in files}
    pool = [(file, *fault) for file, source in sources.items() for fault in faults(ast.parse(source))]
    random.Random(seed).shuffle(pool)
    drawn: dict[tuple[Path, str], str] = {}
    for file, kind, node, other in pool:
        changed = with_fault(sources[file], node, other) if len(drawn) < count else None
        if changed is not None:
            drawn.setdefault((file, changed), kind)
    return [(file, kind, changed) for (file, changed), kind in drawn.items()]
