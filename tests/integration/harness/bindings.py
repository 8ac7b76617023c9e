# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The references of the patch library in tests/targets/bindings, as a description has them."""

from __future__ import annotations

REFERENCES = {
    "#copied": "copied_word",
    "#hidden": "hidden_word",
    "#interposed": "interposed_word",
    "#library.c/hidden_function": "hidden_function_word",
    "#%per_thread": "per_thread_index",
    "#%static_per_thread": "static_per_thread_index",
}
