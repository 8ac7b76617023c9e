# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report calls the builds of several roots."""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.build.build import BuildResult
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.report import report_lines
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.variants import Part, together
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import UlpError

NOTHING = {"sources": [], "warnings": [], "refused": [], "targets": [], "left": [], "built_in": None}


def headings(*parts):
    return [line for line in report_lines(together(parts).fields, False) if not line.startswith(" ")]


def built(command, running, **place):
    return Part(command, running, BuildResult(dict(NOTHING), False, "", ""), None, place)


@pytest.mark.parametrize("parts, wanted", [
    ((built("make", None, root="/a"), built("make", None, image="b")), ["the root /a:", "the image b:"]),
    ((built("make", None, root="/a"), built("x", None, root="/a")), ["the root /a: make:", "the root /a: x:"]),
    ((built(None, "zlib1g", root="/a"), built(None, "b", root="/a")), ["the root /a: zlib1g:", "the root /a: b:"]),
    ((built("make", None, root="/a"), Part(None, None, None, "it is none", {"root": "/b"})),
     ["the root /a:", "the root /b:"]),
    ((built("make", None), built("make x", None)), ["make:", "make x:"]),
])
def test_what_tells_them_apart(parts, wanted):
    assert headings(*parts) == wanted


def test_why_nothing_could_be_built():
    """Guards that one reason for all roots names each of them."""
    parts = [Part(None, None, None, "it is no directory", {"root": root}) for root in ("/a", "/b")]
    reasons = [refusal["reason"] for refusal in together(parts).fields["refused"]]
    assert reasons == ["in the root /a: it is no directory", "in the root /b: it is no directory"]
    with pytest.raises(UlpError, match="^in the root /a: it is no directory$"):
        together(parts[:1])
