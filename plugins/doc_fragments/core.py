# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Python core needs, wherever a module calls it."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragment C(libpulp.livepatch.core)."""

    DOCUMENTATION = r"""
options: {}
requirements:
  - python3-pyelftools
"""
