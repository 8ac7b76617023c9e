# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a build as a page, for whoever reviews a livepatch before it is signed."""

from __future__ import annotations

from html import escape
from typing import Any, Iterable

from ..livepatch.labels import shown
from .new_variables import what_becomes
from .under_test import shown_counts

_STYLE = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; vertical-align: top; }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
.note { border-left: .3rem solid #c80; padding-left: .8rem; }
"""


def page(fields: dict[str, Any], target: dict[str, Any]) -> str:
    """An HTML document about one livepatch.

    :param fields: BuildResult.fields.
    :param target: the one of ``fields["targets"]`` that it is about, which was built.
    """
    test = fields.get("test")
    title = f"Livepatch for {target['name']}"
    parts = [
        f"<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{escape(title)}</title>\n"
        f"<meta name=\"viewport\" content=\"width=device-width\">\n<style>\n{_STYLE}</style>\n"
        f"<h1>{escape(title)}</h1>\n",
        _table(("", ""), [
            ("Patch ID", target["patch_id"]), ("SHA-256 of the file", target["sha256"]),
            ("Build ID of the library", target["build_id"]), ("Sources changed", ", ".join(fields["sources"])),
            *[(key, ", ".join(values)) for key, values in shown(target.get("labels", {})).items()],
            *([("Built in", fields["built_in"])] if fields.get("built_in") else []),
            ("Proved on a trial process", ", ".join(target["proof"]) if target["proof"] else "no"),
            ("Own test under the livepatch", f"{test['command']}: passed, {shown_counts(test)}" if test
             else "none was named"),
        ]),
        "<h2>Functions replaced</h2>\n",
        _table(("Function", "Source", "Why"), [
            (function["name"], function["source"], function["why"]) for function in target["functions"]]),
    ]
    if target["guards"]:
        parts += ["<h2>Guards: hooked, but not replaced</h2>\n", _table(
            ("Function",), [(name,) for name in target["guards"]]),
            "<p class=\"note\">What is replaced jumps to them, and they call what is replaced: so that no thread comes"
            " there unseen, their entries are watched.</p>\n"]
    if target["bindings"]:
        parts += ["<h2>What new code takes from the library</h2>\n", _table(
            ("Name", "How"), sorted({(binding["name"], _HOW[binding["kind"]]) for binding in target["bindings"]}))]
    if target["copied"]:
        parts += ["<h2>What the livepatch has itself</h2>\n", _table(("Name",), [(name,) for name in target["copied"]])]
    if target["variables"]:
        parts += ["<h2>New variables</h2>\n", _table(
            ("Name", "What becomes of it"), [
                (variable["name"], what_becomes(variable)) for variable in target["variables"]])]
    if target["medium"]:
        parts.append("<p class=\"note\">Compiled once more with the medium code model, because they access the"
                     f" library's variables directly: {escape(', '.join(target['medium']))}.</p>\n")
    if target["layouts"]:
        parts += ["<h2>Types that change</h2>\n", _table(
            ("Type", "Before and after", "Sources", "Not replaced, and uses it", "Objects may exist already"), [
                (f"{layout['kind']} {layout['name']}", "; ".join(layout["differences"]), ", ".join(layout["sources"]),
                 ", ".join(layout["users"]) or "nothing", ", ".join(layout["outliving"]) or "no")
                for layout in target["layouts"]])]
    if target["allowed"]:
        parts += ["<h2>Allowed by the author</h2>\n", _table(
            ("Kind", "What"), [(refusal["kind"], refusal["reason"]) for refusal in target["allowed"]])]
    warnings = [*fields["warnings"], *target["warnings"]]
    if warnings:
        parts += ["<h2>Warnings</h2>\n", _table(("Warning",), [(warning,) for warning in warnings])]
    return "".join(parts)


_HOW = {
    "address": "its address in the library",
    "word": "what the library's own table holds for it",
    "symbol": "what the loader finds for the library by this name",
    "tls": "the library's thread-local storage",
    "tls_words": "what the library's own table holds for it, thread-local",
}


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["<table>\n"]
    if any(headings):
        lines.append("<tr>" + "".join(f"<th>{escape(heading)}</th>" for heading in headings) + "</tr>\n")
    lines.extend("<tr>" + "".join(f"<td><code>{escape(str(cell))}</code></td>" for cell in row) + "</tr>\n"
                 for row in rows)
    lines.append("</table>\n")
    return "".join(lines)
