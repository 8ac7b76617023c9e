# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the metadata of a livepatch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .livepatch import Livepatch, read_livepatch
from .target import target_fields

if TYPE_CHECKING:
    import os


def dump(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The metadata of the livepatch at ``path``, as a JSON-able dict.

    Keys: ``path``, ``format_version``, ``patch_id``, ``patch_build_id``, ``targets`` (each with ``soname``, ``path``,
    ``build_id``, ``functions``: ``old``, ``new``, ``old_offset``, ``old_size``, ``new_offset``, ``sites``,
    ``old_digest``, ``guards``, ``bindings``: the fields of binding.Binding, and ``variables``: those of
    new_data.NewVariable), ``dependencies``, ``replaces``,
    ``labels``.

    :raises FileProblem: it cannot be read.
    :raises BadElf: it is not a sound ELF file.
    :raises BadLivepatch: it is not a sound livepatch.
    """
    return dict(metadata_fields(read_livepatch(path)), path=str(path))


def metadata_fields(livepatch: Livepatch) -> dict[str, Any]:
    """The metadata of a Livepatch as a JSON-able dict."""
    return {
        "format_version": livepatch.format_version,
        "patch_id": livepatch.patch_id,
        "patch_build_id": livepatch.patch_build_id,
        "targets": [target_fields(target) for target in livepatch.targets],
        "dependencies": livepatch.dependencies,
        "replaces": list(livepatch.replaces),
        "labels": livepatch.labels,
    }
