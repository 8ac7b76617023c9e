# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which units a linked file was made from."""

from __future__ import annotations

from ..named_tuple import NamedTuple
from .recording import Link, Records, Unit


class Composition(NamedTuple):
    """The units of a linked file by key, and the digests of its other objects, {name: SHA-256}."""

    units: dict[str, Unit]
    others: dict[str, str | None]

    def with_units_of(self, records: Records) -> Composition:
        """The same, with its units as they are in other records of the same build."""
        return self._replace(units={key: records.units[key] for key in self.units})


def composition(link: Link, records: Records) -> Composition:
    """What went into ``link``, through objects that were linked from others (``ld -r``) as well."""
    by_output: dict[str, list[Unit]] = {}
    by_digest: dict[str, Unit] = {}
    for unit in records.units.values():
        by_output.setdefault(unit.output, []).append(unit)
        if unit.digest:
            by_digest.setdefault(unit.digest, unit)
    units: dict[str, Unit] = {}
    others: dict[str, str | None] = {}
    _collect(link, records, by_output, by_digest, units, others, {link.output})
    return Composition(units, others)


def _collect(link: Link, records: Records, by_output: dict[str, list[Unit]], by_digest: dict[str, Unit],
             units: dict[str, Unit], others: dict[str, str | None], seen: set[str]) -> None:
    for key in link.units:
        if key in records.units:
            units[key] = records.units[key]
    for path, member, digest in link.inputs:
        found = [] if member else by_output.get(str(path), [])
        if not found and digest in by_digest:
            found = [by_digest[str(digest)]]
        if found:
            units.update((unit.key, unit) for unit in found)
        elif not member and path in records.links and path not in seen:
            seen.add(str(path))
            _collect(records.links[str(path)], records, by_output, by_digest, units, others, seen)
        else:
            others[f"{path}({member})" if member else str(path)] = digest
