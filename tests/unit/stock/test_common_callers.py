# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which functions of a library call several of those that are replaced."""

from __future__ import annotations

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.stock.code import Code
from ansible_collections.libpulp.livepatch.plugins.module_utils.stock.common_callers import common_callers

LIBRARY = r"""
#define OPAQUE __attribute__((noipa))
extern int puts(const char *);
OPAQUE int parse(int x) { return puts("parse") + x; }
OPAQUE int store(int x) { return puts("store") + x; }
OPAQUE static int alone(int x) { return parse(x) + parse(x + 1); }
OPAQUE static int handle(int x) { return parse(x) + store(x) + 1; }
OPAQUE static int through(int x) { return alone(x) * store(x); }
OPAQUE static int once(int x) { return handle(x) + puts("once"); }
OPAQUE static int goes_on(int x) { if (parse(x) > 3) puts("more"); return store(x); }
OPAQUE static int counts(int x) { return x > 0 ? counts(x - 1) + handle(x) : parse(x); }
__attribute__((cold)) OPAQUE static int seldom(int x) { return store(x) + 2; }
OPAQUE static int split(int x) { int y = parse(x); if (__builtin_expect(y > 9, 0)) return seldom(x) * 2; return y * 3; }
int all(int x) { return once(x) + through(x) + goes_on(x) + counts(x) + split(x) + puts("all"); }
"""


@pytest.mark.parametrize("flags", [(), ("-Wl,-Bsymbolic",), ("-fvisibility=hidden",)])
def test_callers_of_several(compile_library, flags):
    image = ElfImage.open(compile_library(LIBRARY, *flags, padding=()))
    addresses = {symbol.name: symbol.value for symbol in image.symbols() if symbol.type == "STT_FUNC"}
    names = {address: name for name, address in addresses.items()}
    code = Code(image, image.symbols() + image.dynamic_symbols())
    found = [names[address] for address in common_callers(code, [addresses["parse"], addresses["store"]])]
    assert sorted(found) == ["all", "counts", "goes_on", "handle", "split", "through"]
    assert found.index("handle") < found.index("all")
    # What is guarded is one visit.
    inside = [addresses[name] for name in ("parse", "store", "handle")]
    assert "once" not in [names[address] for address in common_callers(code, inside)]
    assert common_callers(code, [addresses["parse"]]) == []
