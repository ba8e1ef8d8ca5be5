"""The rooms of the house: who may import whom, what ``--help`` may load, and that no module outgrows its subject."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import graphs

ROOT = Path(graphs.__file__).resolve().parent
ALLOWED = {
    "ir": set(),
    "targets": {"ir"},
    "calibration": {"ir", "targets"},
    "frontends": {"ir"},
    "passes": {"ir", "targets", "calibration"},
    "tools": {"ir", "targets", "calibration", "frontends", "passes", "api", "__version__"},
}
"""What each folder may import, beside itself; ``__version__`` is a name of the package's own ``__init__``."""

HEAVY = {"numpy", "onnx", "onnxruntime", "onnx_graphsurgeon", "torch", "scipy", "pydantic", "rich", "networkx", "yaml"}
MOST_LINES = 450


def modules() -> list[Path]:
    """Every module of the package, relative to its root."""
    found = [path for folder in ALLOWED for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path.relative_to(ROOT) for path in (*found, ROOT / "__init__.py", ROOT / "api.py")]


def imported(source: str, module: Path) -> Iterator[tuple[str, int]]:
    """Each module that ``source`` imports, wherever in it, by its full name (``graphs.ir.graph``), and the line."""
    package = ("graphs", *module.parts[:-1])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join((*base, *([node.module] if node.module else [])))
            yield from ((f"{name}.{alias.name}" if not node.module else name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func) and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                dots = len(first.value) - len(first.value.lstrip("."))
                base = package[: len(package) - dots + 1] if dots else ()
                yield ".".join((*base, first.value.lstrip("."))).rstrip("."), node.lineno


def violations(source: str, module: Path) -> list[str]:
    room = module.parts[0]
    wrong = []
    for name, line in imported(source, module):
        parts = name.split(".")
        if parts[0] != "graphs":
            continue
        target = parts[1] if len(parts) > 1 else ""
        if target != room and target not in ALLOWED[room]:
            wrong.append(f"{module}:{line}: {room}/ may not import {name}")
    return wrong


@pytest.mark.parametrize("module", [path for path in modules() if len(path.parts) > 1], ids=str)
def test_a_module_imports_only_what_its_folder_may(module: Path) -> None:
    assert violations((ROOT / module).read_text(encoding="utf-8"), module) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ir/graph.py", "from ..passes import fuse"),
        ("ir/ops/views.py", "from ...targets import Target"),
        ("ir/graph.py", "from .. import passes"),
        ("ir/graph.py", "import graphs.targets.device"),
        ("ir/graph.py", "from graphs.targets import device"),
        ("targets/loader.py", "def f():\n    from ..passes.fuse import Fuse"),
        ("frontends/onnx.py", "if TYPE_CHECKING:\n    from ..targets import Target"),
        ("frontends/onnx.py", "import_module('..passes.fuse', __package__)"),
        ("passes/fuse.py", "from ..tools.opt import main"),
        ("passes/fuse.py", "from .. import load"),
        ("calibration/fit.py", "from ..passes.cost import Cost"),
    ],
)
def test_the_walk_sees_a_forbidden_import(module: str, source: str) -> None:
    assert len(violations(source, Path(module))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ir/ops/views.py", "from ..graph import Op\nfrom . import reading\nimport numpy"),
        ("passes/fuse.py", "from ..ir import Graph\nfrom ..targets import Target\nfrom .base import Pass"),
    ],
)
def test_the_walk_lets_an_allowed_import_pass(module: str, source: str) -> None:
    assert violations(source, Path(module)) == []


@pytest.mark.parametrize("module", modules(), ids=str)
def test_a_module_says_what_it_is_and_what_it_offers(module: Path) -> None:
    source = (ROOT / module).read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert ast.get_docstring(tree), "no docstring"
    assert source.count("\n") <= MOST_LINES
    defines = any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ImportFrom) for node in tree.body)
    if defines and not (module.name == "__init__.py" and "__all__" not in source and _only_loads(tree)):
        name = ".".join(("graphs", *module.with_suffix("").parts)).removesuffix(".__init__")
        loaded = importlib.import_module(name)
        assert [word for word in loaded.__all__ if not hasattr(loaded, word)] == []


def _only_loads(tree: ast.Module) -> bool:
    """Whether a module only imports others for what they register."""
    rest = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom | ast.Expr)]
    return not rest


def loaded_by(*arguments: str) -> set[str]:
    """Top-level names of the modules that a fresh ``graphs-opt`` has loaded when it is done."""
    code = (
        "import sys, json, contextlib, io\nfrom graphs.tools.opt import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n    main()\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)])
def test_help_loads_no_heavy_library(arguments: tuple[str, ...]) -> None:
    loaded = loaded_by(*arguments)
    assert "graphs" in loaded and "click" in loaded
    assert loaded & HEAVY == set()


def test_the_look_at_loaded_modules_sees_heavy_ones() -> None:
    model = ROOT / "examples" / "models" / "squeezenet1_1.onnx"
    assert loaded_by("--passes=shape", "--emit=json", str(model)) >= {"networkx", "onnx"}
