# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The address space of x86-64.

Source: Documentation/arch/x86/x86_64/mm.rst of the kernel.  A process with five levels of page tables gets addresses
beyond those of four only if it asks for them (5level-paging.rst), and the dynamic loader never does.
"""

from __future__ import annotations

END_OF_USER_SPACE = 1 << 56  # with five levels of page tables
END_OF_LINKED_SPACE = 1 << 47  # with four
PAGE_SIZE = 4096
