# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build in a root has to have loaded before it enters the root."""

from __future__ import annotations

import ast
from pathlib import Path

from ansible_collections.libpulp.livepatch.plugins.module_utils.build import loaded_code

CORE = Path(loaded_code.__file__).resolve().parents[1]
LAYERS = ("arch", "elf", "stock", "livepatch", "process", "tracee", "trigger", "build")
# It runs in a process of its own, with the root's Python.
APART = CORE / "build" / "compiler_wrapper.py"
FILES = [path for layer in LAYERS for path in sorted((CORE / layer).rglob("*.py")) if path != APART]


def imported_late(path):
    """(whether it is the core's own, name) of each module that a function of the file imports."""
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Import):
                yield from ((False, name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level:
                package = path.relative_to(CORE).parent.parts
                yield True, ".".join([*package[:len(package) - node.level + 1], *str(node.module).split(".")])
            elif isinstance(node, ast.ImportFrom):
                inner = [f"{node.module}.{name.name}" for name in node.names]
                modules = [name for name in inner if name in loaded_code.OF_OTHERS]
                yield from ((False, name) for name in modules or [node.module])


def test_nothing_is_loaded_later():
    """Seen to fail with ``stock.sites`` missing: a library without padding could not be built for in a root."""
    late = {found for path in FILES for found in imported_late(path)}
    assert {name for own, name in late if own} <= set(loaded_code.OWN)
    assert {name for own, name in late if not own} <= {*loaded_code.OF_OTHERS, *loaded_code.OF_PYTHON}


def test_all_of_it_can_be_loaded():
    loaded_code.load()
