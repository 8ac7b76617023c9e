# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a source package is built with, as dpkg-checkbuilddeps says it."""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.build.debian_package import required_packages


@pytest.mark.parametrize("output, names", [
    ("dpkg-checkbuilddeps: error: Unmet build dependencies: docbook2x\n", ["docbook2x"]),
    ("dpkg-checkbuilddeps: error: unmet build dependencies: dh-exec (>= 0.3) libfoo-dev:native cmake\n",
     ["dh-exec", "libfoo-dev", "cmake"]),
    ("error: Unmet build dependencies: a1 (>= 1) | b1 | c1 (= 2) d1 e1 | f1\n", ["a1", "d1", "e1"]),
    ("error: Unmet build dependencies: a1 a1 (>= 2)\nerror: Unmet build conflicts: z1\n", ["a1"]),
    ("error: Unmet build conflicts: z1\n", []),
])
def test_names_for_the_command_that_installs_them(output, names):
    """Guards the command that is printed for a root: seen to fail without any command."""
    assert required_packages(output) == names
