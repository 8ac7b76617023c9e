# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The attributes that every module of this collection documents."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(libpulp.livepatch.attributes)."""

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
"""
