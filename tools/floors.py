"""Checks the three floors: imports go down only, and the lower two reach for nothing outside.

Run as ``python -m tools.floors``; exit 1 names each breach by file and line.
"""

import ast
import pathlib
import sys

OUTSIDE = frozenset({
    "aiohttp", "asyncio", "httpx", "logging", "multiprocessing", "random", "requests", "secrets", "socket",
    "subprocess", "threading", "time", "uuid",
})  # fmt: skip
FORBIDDEN = {
    "state": frozenset({"processors", "node"}) | OUTSIDE,
    "processors": frozenset({"node", "plyvel", "pathlib", "os", "io", "datetime"}) | OUTSIDE,
}
#: The only rooms of the state floor that touch files.
FILES_ALLOWED = frozenset({"state/store.py", "state/snapshot.py"})
FILE_MODULES = frozenset({"os", "pathlib", "shutil", "plyvel", "fcntl"})


def imported(node: ast.AST) -> list[str]:
    """The top-level names of the modules that this statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return [(node.module or "").split(".")[0]]
    return []


def breaches(floor: str, path: pathlib.Path, tree: ast.AST) -> list[str]:
    """What this file does that its floor forbids, one line each."""
    found = []
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        for module in imported(node):
            if module in FORBIDDEN[floor]:
                found.append(f"{path}:{line}: {floor} must not import {module}")
            if module in FILE_MODULES and str(path) not in FILES_ALLOWED:
                found.append(f"{path}:{line}: only {', '.join(sorted(FILES_ALLOWED))} may touch files")
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            found.append(f"{path}:{line}: a float")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            found.append(f"{path}:{line}: true division makes a float")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"open", "float", "hash"}:
            found.append(f"{path}:{line}: {node.func.id}() does not belong here")
    return found


def main() -> int:
    """Print every breach; the exit code says whether there was one."""
    found = []
    for floor in FORBIDDEN:
        for path in sorted(pathlib.Path(floor).rglob("*.py")):
            found += breaches(floor, path, ast.parse(path.read_text()))
    print("\n".join(found) if found else "floors: imports go down, nothing reaches outside")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
