# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shadow objects, compiled when somebody needs them.

A recorded build keeps the preprocessed text of all that it compiles.  A fix reaches a few files of a large package;
compiling all of them a second time would take as long as the package itself.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Iterable

from ..atomic_file import read_file
from .compiler_wrapper import compile_shadow, compile_text, text_of
from .errors import BuildFailed
from .recording import Unit

_SHOWN = 4000
# In a string of C, where quotes have backslashes before them.
_INCLUDED = re.compile(rb'\.incbin\s+\\?"([^"\\]+)')


def compiling_environment(unit: Unit) -> dict[str, str]:
    """The environment that a unit is compiled in again."""
    return {"PATH": os.environ.get("PATH", os.defpath), **unit.environment}


def with_shadow(unit: Unit) -> Unit:
    """The unit with its shadow object compiled; without one, and with the compiler's messages, where that fails."""
    if unit.shadow is None or os.path.exists(unit.shadow):
        return unit
    done = compile_shadow(unit.compiler, unit.arguments, unit.source, unit.directory, unit.shadow,
                          compiling_environment(unit))
    if done.returncode:
        return unit._replace(shadow=None, messages=done.stdout.decode("utf-8", "replace")[-_SHOWN:])
    return unit


def with_shadows(units: Iterable[Unit]) -> list[Unit]:
    """The same for several, in order, as many at a time as there are processors."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(with_shadow, units))


def included_by_assembler(unit: Unit) -> list[str]:
    """The files that assembly in the text of a unit includes (``.incbin``), as paths that may not exist."""
    text = read_file(text_of(str(unit.shadow)))
    return [os.path.normpath(os.path.join(unit.directory, os.fsdecode(name))) for name in _INCLUDED.findall(text)]


def mentions(unit: Unit, names: Iterable[bytes]) -> bool:
    """Whether one of some words stands in the text of a unit that has a shadow object, or would have."""
    text = read_file(text_of(str(unit.shadow)))
    return any(name in text for name in names)


def compile_otherwise(unit: Unit, output: str, options: list[str], what: str) -> None:
    """Compile a unit into ``output`` from the text of its shadow object, with further options.

    :param what: what that is, for the message.
    :raises BuildFailed: the compiler fails.
    """
    done = compile_text(unit.compiler, unit.arguments, unit.source, unit.directory, str(unit.shadow), output, options,
                        compiling_environment(unit))
    if done.returncode:
        raise BuildFailed(f"cannot {what}: {os.path.basename(unit.compiler)} says: "
                          + done.stdout.decode("utf-8", "replace").strip()[-_SHOWN:])
