# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Livepatches of earlier builds that lie where a build that was refused, or failed, would have put its own.

Nobody may take such a file for the livepatch that was asked for.  It is named and not removed: it may have been
reviewed and signed, and it is still right for what it was built for.
"""

from __future__ import annotations

import os
from typing import Any, Iterable


def output_path(output: str, name: str) -> str:
    """The path of a target's livepatch.

    :param output: what was asked for, a directory, or a file ``*.ulp``.
    :param name: the target's soname or file name.
    """
    if output.endswith(".ulp") and not os.path.isdir(output):
        return output
    return os.path.join(output, f"{name}.ulp")


def left_behind(output: str, last: dict[str, Any] | None, names: Iterable[str]) -> list[str]:
    """Paths of livepatches that are there and not of this build.

    :param output: as for output_path().
    :param last: the report of the last build in the same work directory, which tells what it wrote; None without one.
    :param names: targets that this build was refused for; without any it is not known which it would have had, and
        what the last one wrote to the same place counts.
    """
    paths = [output_path(output, name) for name in names]
    if not paths and last is not None:
        earlier = [*(target["path"] for target in last["targets"] if target["path"] is not None), *last["left"]]
        paths = [path for path in earlier if path == output_path(output, os.path.basename(path)[:-len(".ulp")])]
    return sorted({path for path in paths if os.path.isfile(path)})


def sentence_on(left: list[str]) -> str:
    """That these paths are not what was asked for, as a part of a sentence."""
    are = "is" if len(left) == 1 else "are"
    return f"{', '.join(left)} {are} of an earlier build, and not what was asked for now"
