# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may import whom in plugins/module_utils: see Layers in CONTRIBUTING.md."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"
LAYERS = ("arch", "elf", "stock", "livepatch", "process", "tracee", "trigger", "dispatch", "build", "command")
# Inside trigger the same holds.  What lies directly in it (the row, the options, the job) is there for all of them.
IN_TRIGGER = ("resolution", "borrowing", "attaching", "judgement", "operations")
# On the controller: it knows nothing of the rest but what outcomes mean.
APART = {"rollout": {"rollout", "trigger.outcome"}}
FILES = sorted(CORE.rglob("*.py"))


def imported(path):
    """(number of the line, module in dots from CORE, or an absolute name) for each import anywhere in a file."""
    package = path.relative_to(CORE).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name, False
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                yield node.lineno, node.module, False
                continue
            parts = [*package[:len(package) - node.level + 1], *(node.module.split(".") if node.module else ())]
            for name in node.names:
                inner = CORE.joinpath(*parts, name.name)
                is_module = inner.with_suffix(".py").exists() or inner.is_dir()
                yield node.lineno, ".".join([*parts, name.name] if is_module else parts), True


def is_above(module, importer):
    """Whether ``module`` belongs to an upper layer than ``importer``; both split at the dots from CORE."""
    if module[0] not in LAYERS:
        return False
    if module[0] != importer[0]:
        return LAYERS.index(module[0]) > LAYERS.index(importer[0])
    if module[0] != "trigger" or module[1] not in IN_TRIGGER or importer[1] not in IN_TRIGGER:
        return False
    return IN_TRIGGER.index(module[1]) > IN_TRIGGER.index(importer[1])


def wrong_imports(path):
    layer = path.relative_to(CORE).parts[0] if path.parent != CORE else None
    for line, module, within in imported(path):
        top = module.partition(".")[0]
        if not within:
            wrong = top in ("ansible", "ansible_collections") and path.name != "ansible_module.py"
        elif layer in APART:
            wrong = top in (*LAYERS, *APART) and not any(
                module == allowed or module.startswith(allowed + ".") for allowed in APART[layer])
        elif layer is None:
            # What all of them share lies below them.
            wrong = path.name != "ansible_module.py" and top in (*LAYERS, *APART)
        else:
            wrong = top in APART or is_above(module.split("."), path.relative_to(CORE).parts)
        if wrong:
            yield f"{path.relative_to(CORE)}:{line} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(CORE)) for path in FILES])
def test_no_file_imports_an_upper_layer(path):
    """Seen to fail with an import of trigger.outcome in process/procfs.py, of ansible in elf/image.py, and of
    trigger.judgement.verdict in trigger/borrowing/borrow.py.
    """
    assert not list(wrong_imports(path))


def test_every_folder_is_a_layer():
    assert {path.name for path in CORE.iterdir() if (path / "__init__.py").exists()} == {*LAYERS, *APART}


def test_imports_are_found():
    assert any(module == "errors" for _line, module, _within in imported(CORE / "elf" / "image.py"))
