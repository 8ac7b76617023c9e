# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command prints for people to read."""

from __future__ import annotations

from ..attention import BY_ATTACHING
from ..counted import counted
from ..livepatch.binding import SYMBOL, TLS, TLS_WORDS, WORD
from ..printable import printable


def table(rows, headings):
    """Lines of text in columns.

    :param rows: tuples of cells.
    :param headings: tuple of str.
    """
    cells = [tuple(printable(cell) for cell in row) for row in [headings, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]


def outcome_table(rows, livepatches=None):
    """The lines that show trigger.outcome.Row ``rows``.

    :param livepatches: {patch ID: name}, to show which livepatch a row is about.
    """
    which = ("LIVEPATCH",) if livepatches else ()
    return table(
        [
            (
                row.pid, f"{row.name} ({row.container})" if row.container else row.name,
                *((livepatches.get(row.patch_id, "-"),) if livepatches else ()),
                f"{row.outcome}, attached" if row.attached_now else row.outcome,
                row.threads, row.threads_pending, "-" if row.held_us is None else f"{row.held_us:.0f} us", row.reason,
            )
            for row in rows
        ],
        ("PID", "NAME", *which, "OUTCOME", "THREADS", "PENDING", "HELD", "REASON"),
    )


def state_lines(process):
    """The lines that show one of the ``processes`` of dispatch.facts.gather()."""
    pending = f", {process['threads_pending']} pending" if process["threads_pending"] else ""
    where = ""
    if process["container"]:
        where = f" in the container {process['container']}"
    elif process["own_root"]:
        where = " with a root directory of its own"
    lines = [
        f"{process['pid']} {process['name']}{where}: runtime {process['runtime_version']},"
        f" {counted(process['threads'], 'thread')}{pending}"
    ]
    if process["cut_off"]:
        lines.append(f"  {process['cut_off']}")
    for library in process["libraries"]:
        kind = "post-processed" if library["post_processed"] else "no padding" if library["stock"] else "padding only"
        deleted = ", replaced on disk" if library["deleted"] else ""
        lines.append(
            f"  {library['path']} ({kind}{deleted}), build ID {library['build_id']}, universe {library['universe']}"
        )
    for patch in process["patches"]:
        lines.append(
            f"  {patch['name']} {patch['status']} {patch['time']}, {counted(patch['functions'], 'function')} of"
            f" {', '.join(patch['libraries'])}, patch ID {patch['patch_id']}"
        )
        lines.extend(f"    {key}: {_listed(values)}" for key, values in sorted(patch["labels"].items()))
        if patch["undone"]:
            lines.append(f"    {patch['undone']}")
    return lines


def refusal_lines(process):
    """The lines that show one of the ``unpatchable`` of dispatch.facts.gather()."""
    how = BY_ATTACHING if process["patchable"] == BY_ATTACHING else "not patchable"
    lines = [f"{process['pid']} {process['name']}: {how}", f"  {process['reason']}"]
    lines.extend(f"  {path} was built for livepatching" for path in process["libraries"] or ())
    return lines


def dump_lines(metadata):
    """The lines that show what livepatch.dump.dump() has read."""
    lines = [f"{metadata['path']}: patch ID {metadata['patch_id']}, format {metadata['format_version']}"]
    if metadata["patch_build_id"]:
        lines.append(f"  patch library with build ID {metadata['patch_build_id']}")
    for target in metadata["targets"]:
        lines.append(f"  for {target['soname']} with build ID {target['build_id']}, built as {target['path']}")
        for pair in target["functions"]:
            lines.append(f"    {pair['old']} is replaced by {pair['new']}{_diverted(pair['sites'])}")
        lines.extend(f"    {guard['name']} is a guard{_diverted(guard['sites'])}" for guard in target["guards"])
        lines.extend(f"    {_bound(binding)}" for binding in target["bindings"])
        lines.extend(f"    {_brought(variable)}" for variable in target["variables"])
    lines.extend(f"  needs the livepatch {patch_id}" for patch_id in metadata["dependencies"])
    lines.extend(f"  replaces the livepatch {which}" for which in metadata["replaces"])
    lines.extend(f"  {key}: {_listed(value)}" for key, value in sorted(metadata["labels"].items()))
    return lines


def _diverted(sites):
    """Where a function without padding is diverted, from the ``sites`` that a livepatch has for it."""
    places = [f"{site['kind']} at {site['offset']:#x}" for site in sites]
    return f", diverted by {' or '.join(places)}" if places else ""


def _brought(variable):
    """One of the ``variables`` of a livepatch, in words."""
    start = ", and has it start anew in each process" if variable["start"] else ""
    return f"brings {variable['name']} along, {variable['size']} bytes{start}"


def _bound(binding):
    """One of the ``bindings`` of a livepatch, in words."""
    name, where = binding["name"], f" at {binding['offset']:#x}"
    if binding["version"]:
        name += f"@{binding['version']}"
    if binding["kind"] == SYMBOL:
        where = ", found by name"
    elif binding["kind"] in (WORD, TLS_WORDS):
        where = f", through the word{where}"
    elif binding["kind"] == TLS:
        where = f" in thread-local storage{where}"
    addend = f", plus {binding['addend']}" if binding["addend"] else ""
    return f"the word at {binding['slot']:#x} leads to {name}{where}{addend}"


def _listed(value):
    return ", ".join(map(str, value)) if isinstance(value, list) else value
