# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a livepatch is about: the CVE numbers and bug references that it carries as labels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Iterable, Mapping
from weakref import WeakKeyDictionary

from ..errors import BadDescription, UlpError
from ..printable import printable

if TYPE_CHECKING:
    from ..elf.image import ElfImage

CVE = "cve"
REFERENCES = "references"
NOTES = "notes"

_CVE = r"(?i)\bCVE-[0-9]{4}-[0-9]{4,}\b"
# As bug trackers are called in change logs: bsc#1200316, jsc#SLE-20049, rhbz#2055326, Bug#1012345, GH#77.
_REFERENCE = r"\b[A-Za-z][A-Za-z-]{1,15}#[A-Z0-9][A-Z0-9-]*\b"
_KEY = r"[A-Za-z][A-Za-z0-9_.-]*"

# Of labels that are shown, for anybody may have written them.
_MOST_KEYS = 32
_MOST_VALUES = 64
_LONGEST = 256
_LARGEST_SHOWN = 1 << 20
_SHOWN: WeakKeyDictionary[ElfImage, dict[str, list[str]]] = WeakKeyDictionary()


def mentioned(text: str) -> dict[str, list[str]]:
    """The labels that ``text``, a comment, mentions: CVE numbers, and references to bug trackers."""
    found = {CVE: [number.upper() for number in re.findall(_CVE, text)], REFERENCES: re.findall(_REFERENCE, text)}
    return {key: list(dict.fromkeys(values)) for key, values in found.items() if values}


def parse_label(text: str) -> dict[str, list[str]]:
    """The label that an author gives: ``KEY=VALUE``, or text, of which what it mentions counts, or else all.

    :raises BadDescription: there is nothing in it, or no key before the ``=``, or it is no UTF-8 text.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadDescription(f"the label {printable(text[:_LONGEST])} is no UTF-8 text") from error
    key, separator, value = (part.strip() for part in text.partition("="))
    if separator:
        if not re.fullmatch(_KEY, key) or not value:
            raise BadDescription(f"expected a label KEY=VALUE, with a word for its key, not {text!r}")
        return {key: [value]}
    if not key:
        raise BadDescription("a label is empty; give KEY=VALUE, or a CVE number")
    return mentioned(key) or {NOTES: [key]}


def merged(labels: Mapping[str, Any] | None, others: Iterable[Mapping[str, list[str]]]) -> dict[str, Any]:
    """``labels``, with the values of ``others`` behind those of the same key, each once.

    What is no list of text in ``labels`` stays as it is.
    """
    together: dict[str, Any] = dict(labels or {})
    for other in others:
        for key, values in other.items():
            known = together.get(key, [])
            if isinstance(known, str):
                known = [known]
            if isinstance(known, list):
                together[key] = known + [value for value in dict.fromkeys(values) if value not in known]
    return together


def shown(labels: Mapping[str, Any]) -> dict[str, list[str]]:
    """The labels of a livepatch that can be shown in a line: {key: list of str}; what is nested is left out."""
    found = {}
    for key, value in sorted(labels.items())[:_MOST_KEYS]:
        values = value if isinstance(value, list) else [value]
        words = [
            printable(str(word)[:_LONGEST]) for word in values[:_MOST_VALUES]
            if isinstance(word, (str, int, float)) and str(word)]
        if words:
            found[printable(key[:_LONGEST])] = words
    return found


def shown_labels(image: ElfImage) -> dict[str, list[str]]:
    """As shown(), of a livepatch that a process has loaded; nothing where it has no metadata that can be read.

    :param image: ElfImage of its file.
    """
    # Many processes may have loaded one livepatch.
    if image not in _SHOWN:
        _SHOWN[image] = _read_labels(image)
    return _SHOWN[image]


def _read_labels(image: ElfImage) -> dict[str, list[str]]:
    # Most who ask for a list of processes see none with a livepatch, and would wait for this.
    from .metadata import SECTION_NAME, parse_metadata

    try:
        section = image.section(SECTION_NAME)
        if section is None or section.size > _LARGEST_SHOWN:
            return {}
        metadata = parse_metadata(image.section_data(section).decode("utf-8"))
    except (UlpError, ValueError):
        return {}
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return shown(labels) if isinstance(labels, dict) else {}
