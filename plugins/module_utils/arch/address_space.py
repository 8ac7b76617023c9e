# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What addresses a process can have.

``END_OF_USER_SPACE`` bounds what the kernel may give a process at all; ``END_OF_LINKED_SPACE`` what a file that is
loaded without being asked for more can take; both in bytes.  ``PAGE_SIZE`` is the smallest page.
"""

from __future__ import annotations

from .x86_64.address_space import END_OF_LINKED_SPACE, END_OF_USER_SPACE, PAGE_SIZE

__all__ = ["END_OF_LINKED_SPACE", "END_OF_USER_SPACE", "PAGE_SIZE"]
