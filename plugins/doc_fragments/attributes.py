# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The attributes that modules of this collection have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(libpulp.livepatch.attributes), and two parts that modules may name as well."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Whether the module can tell what it would change without changing it.
  diff_mode:
    description: Whether the module shows in detail what it changed, or in check mode would change.
  platform:
    description: The operating systems that the module works on.
    platforms: linux
    support: full
"""

    # For a module that changes files or processes.
    CHANGES = r"""
options: {}
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
"""

    # For a module that only looks.
    LOOKS = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: The module changes nothing.
  diff_mode:
    support: N/A
    details: The module changes nothing.
"""
