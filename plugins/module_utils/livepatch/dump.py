# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the metadata of a livepatch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .container import Container, read_container
from .target import target_fields

if TYPE_CHECKING:
    import os


def dump(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The metadata of the container at ``path``, as a JSON-able dict.

    Keys: ``path``, ``format_version``, ``patch_id``, ``patch_build_id``, ``targets`` (each with ``soname``, ``path``,
    ``build_id``, ``functions``: ``old``, ``new``, ``old_offset``, ``old_size``, ``new_offset``, ``sites``,
    ``old_digest``, ``guards``, and ``bindings``: the fields of binding.Binding), ``dependencies``, ``replaces``,
    ``labels``.

    :raises FileProblem: it cannot be read.
    :raises BadElf: it is not a sound ELF file.
    :raises BadContainer: it is not a sound container.
    """
    return dict(metadata_fields(read_container(path)), path=str(path))


def metadata_fields(container: Container) -> dict[str, Any]:
    """The metadata of a Container as a JSON-able dict."""
    return {
        "format_version": container.format_version,
        "patch_id": container.patch_id,
        "patch_build_id": container.patch_build_id,
        "targets": [target_fields(target) for target in container.targets],
        "dependencies": container.dependencies,
        "replaces": list(container.replaces),
        "labels": container.labels,
    }
