# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of a livepatch: the patch library with a section ``.ulp`` that says what it replaces.

The patch ID is the SHA-256 over the whole livepatch with the 64 digits of the
patch ID itself replaced by zeros, so it covers the patch library and every
word of the metadata.
"""

from __future__ import annotations

import hashlib
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Iterable

from ..abi import PATCH_ID_SIZE
from ..elf.image import SHF_ALLOC, ElfImage, Section
from ..elf.jumps import jumped_imports
from ..elf.section import append_section
from ..errors import BadElf, BadLivepatch
from ..named_tuple import NamedTuple
from .members import (
    FORMAT_VERSION,
    LATER_FORMAT_VERSION,
    LATEST_FORMAT_VERSION,
    Members,
    damaged,
    decode_members,
    is_integer,
    leave_out_empty,
)
from .metadata import LARGEST_METADATA, SECTION_NAME, canonical_json, parse_metadata
from .target import BUILD_ID, Target, decode_target, encode_target, needed_format, require_separate_words

if TYPE_CHECKING:
    import os

    from ..elf.contents import FileContents

_NO_PATCH_ID = "0" * (2 * PATCH_ID_SIZE)
_PATCH_ID = re.compile(rf"[0-9a-f]{{{2 * PATCH_ID_SIZE}}}")
_LONGEST_PATTERN = 256


_MEMBERS = Members(
    "the metadata",
    {
        "format_version": int, "patch_id": str, "patch_build_id": str, "targets": list, "dependencies": list,
        "labels": dict,
    },
    {"replaces": list},
)


class Livepatch(NamedTuple):
    """A livepatch, as its file holds it.

    ``patch_id``, ``patch_build_id`` and ``dependencies`` (patch IDs) are hex; ``image_text`` is the (start, end) of
    the patch library's code, link-time; ``jumps`` are the names of the symbols of other objects that it
    may jump to, not call; ``replaces`` says which others it takes the place of: patch IDs, and wildcards of names.
    """

    path: str
    format_version: int
    patch_id: str
    patch_build_id: str
    targets: list[Target]
    dependencies: list[str]
    labels: dict[str, object]
    image_text: tuple[int, int]
    jumps: frozenset[str]
    replaces: tuple[str, ...] = ()

    def is_replacement_of(self, patch_id: str, name: str) -> bool:
        """Whether it says that it takes the place of the livepatch with that ID and ``name``, its file's."""
        return any(pattern == patch_id or fnmatchcase(name, pattern) for pattern in self.replaces)


def is_patch_id(value: object) -> bool:
    """Whether ``value`` is a patch ID in hex: 64 lower-case digits."""
    return isinstance(value, str) and _PATCH_ID.fullmatch(value) is not None


def is_replaceable(value: object) -> bool:
    """Whether ``value`` can say which livepatches are replaced: a patch ID, or a wildcard of names."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_PATTERN and value.isprintable()


def _needed_format(targets: list[Target], replaces: list[str]) -> int:
    """The oldest format that can say what there is to say."""
    return max(needed_format(targets), LATER_FORMAT_VERSION if replaces else FORMAT_VERSION)


def make_livepatch(
    image: ElfImage, targets: list[Target], *, dependencies: Iterable[str] = (),
    labels: dict[str, object] | None = None, replaces: Iterable[str] = (),
) -> tuple[bytes, str]:
    """Make the bytes of a livepatch.

    :param image: ElfImage of the patch library.
    :param targets: list of Target.
    :param dependencies: patch IDs in hex that must be applied before.
    :param labels: JSON-able dict of anything else worth knowing, such as CVE numbers.
    :param replaces: patch IDs in hex, and wildcards of names, of livepatches whose place it takes.
    :return: (bytes, patch ID in hex); equal input gives equal bytes.
    :raises BadElf: the library has no build ID, or cannot take one more section.
    """
    replaces = sorted(set(replaces))
    metadata: dict[str, Any] = {
        "format_version": _needed_format(targets, replaces),
        "patch_id": _NO_PATCH_ID,
        "patch_build_id": image.require_build_id().hex(),
        "targets": [encode_target(target) for target in targets],
        "dependencies": sorted(dependencies),
        "labels": labels or {},
        "replaces": replaces,
    }
    leave_out_empty(metadata, _MEMBERS)
    unnamed = append_section(image, SECTION_NAME, canonical_json(metadata))
    patch_id = hashlib.sha256(unnamed).hexdigest()
    metadata["patch_id"] = patch_id
    # The same length as before: the rest of the file is what was hashed.
    return append_section(image, SECTION_NAME, canonical_json(metadata)), patch_id


def read_livepatch(path: str | os.PathLike[str]) -> Livepatch:
    """Read and check the livepatch at ``path``.

    :return: Livepatch.
    :raises FileProblem: it cannot be read.
    :raises BadElf: it is not a sound ELF file.
    :raises BadLivepatch: it has no metadata, or they are malformed or do not belong to this file.
    """
    return _read(ElfImage.open(path), path)


def parse_livepatch(data: bytes | FileContents, name: str) -> Livepatch:
    """Check ``data``, all bytes of a file that messages are to call ``name``; otherwise as read_livepatch."""
    return _read(ElfImage.parse(data, name), name)


def _read(image: ElfImage, path: object) -> Livepatch:
    section = image.section(SECTION_NAME)
    if section is None:
        raise BadLivepatch(
            f"{path} is not a livepatch: it has no section {SECTION_NAME}; make one with ulp pack")
    if image.type != "ET_DYN" or section.flags & SHF_ALLOC:
        raise damaged(path, f"it is not a shared library with a separate section {SECTION_NAME}")
    if section.size > LARGEST_METADATA:
        raise damaged(path, f"its metadata are {section.size} bytes long, and may have {LARGEST_METADATA}")
    contents = image.section_data(section)
    try:
        metadata = parse_metadata(contents.decode("utf-8"))
    except ValueError as error:
        raise damaged(path, f"its metadata cannot be read as JSON: {error}") from error
    version = metadata.get("format_version") if isinstance(metadata, dict) else None
    if version is None or not is_integer(version):
        raise damaged(path, "its metadata have no format version")
    if not FORMAT_VERSION <= version <= LATEST_FORMAT_VERSION:
        raise BadLivepatch(
            f"{path} has livepatch format {version}, but this version of ulp reads formats {FORMAT_VERSION} to"
            f" {LATEST_FORMAT_VERSION}")
    livepatch = _decode(path, metadata, image)
    _check_patch_id(image, section, contents, metadata)
    return livepatch


def _check_patch_id(image: ElfImage, section: Section, contents: bytes, metadata: dict[str, Any]) -> None:
    try:
        canonical = canonical_json(metadata)
    except ValueError as error:
        raise damaged(image.name, "its metadata hold what JSON cannot") from error
    if canonical != contents:
        raise damaged(image.name, "its metadata are not in canonical form")
    unnamed = canonical_json(dict(metadata, patch_id=_NO_PATCH_ID))
    digest = hashlib.sha256(image.data[:section.offset])
    digest.update(unnamed)
    digest.update(image.data[section.offset + section.size:])
    if digest.hexdigest() != metadata["patch_id"]:
        raise damaged(image.name, "its contents do not match its patch ID")


def _decode(path: object, metadata: dict[str, Any], image: ElfImage) -> Livepatch:
    version = metadata["format_version"]
    fields = decode_members(path, metadata, _MEMBERS, version)
    if not is_patch_id(fields["patch_id"]):
        raise damaged(path, "its patch ID is malformed")
    if not all(is_patch_id(dependency) for dependency in fields["dependencies"]):
        raise damaged(path, "the patch ID of a dependency is malformed")
    build_id = image.build_id
    if build_id is None or build_id.hex() != fields["patch_build_id"] or not BUILD_ID.fullmatch(build_id.hex()):
        raise damaged(path, "its build ID is not the one that its metadata name")
    replaces = fields.get("replaces", [])
    if not all(map(is_replaceable, replaces)) or replaces != sorted(set(replaces)):
        raise damaged(path, "what it replaces is malformed")
    targets = [decode_target(path, target, image, version) for target in fields["targets"]]
    if not targets:
        raise damaged(path, "it names no target library")
    if len({target.build_id for target in targets}) < len(targets):
        raise damaged(path, "it names a target library twice")
    require_separate_words(path, targets)
    if version != _needed_format(targets, replaces):
        raise damaged(path, f"it has format {version}, but nothing of that format")
    try:
        image_text = image.text_range
    except BadElf as error:
        raise damaged(path, "its library has no code") from error
    return Livepatch(
        path=str(path),
        format_version=version,
        patch_id=fields["patch_id"],
        patch_build_id=fields["patch_build_id"],
        targets=targets,
        dependencies=fields["dependencies"],
        labels=fields["labels"],
        image_text=image_text,
        jumps=jumped_imports(image),
        replaces=tuple(replaces),
    )
