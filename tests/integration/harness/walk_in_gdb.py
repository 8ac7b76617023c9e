# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run inside gdb: step one call, instruction by instruction, and look at the backtrace at each.

The call is the next one that the stopped thread makes to ``WALK_FUNCTION``. Prints JSON: how many
instructions there were, in which symbols, and those from which the frames do not lead through ``WALK_CALLER``
to the program's start.
"""

from __future__ import annotations

import json
import os

import gdb

FUNCTION = os.environ["WALK_FUNCTION"]
CALLER = os.environ["WALK_CALLER"]
LIMIT = 2000


def names(frame):
    found = []
    while frame is not None and len(found) < 64:
        found.append(frame.name())
        frame = frame.older()
    return found


def is_complete():
    found = names(gdb.newest_frame())
    return CALLER in found and found[-1] == "_start"


def read_word(address):
    return int.from_bytes(gdb.selected_inferior().read_memory(address, 8).tobytes(), "little")


def register(name):
    return int(gdb.parse_and_eval("(unsigned long)$" + name))


def run():
    gdb.execute("set pagination off")
    gdb.execute("set backtrace past-main on")
    gdb.execute("handle all nostop noprint pass")
    gdb.execute("handle SIGTRAP stop print nopass")
    for address in os.environ["WALK_ENTRIES"].split():
        gdb.execute(f"hbreak *{address}")
    gdb.execute("continue")
    gdb.execute("delete")
    home = register("rsp") + 8
    back = read_word(register("rsp"))
    symbols, incomplete, steps = set(), [], 0
    while not (register("pc") == back and register("rsp") == home):
        steps += 1
        if steps > LIMIT:
            raise gdb.GdbError("the call does not return")
        pc = register("pc")
        where = gdb.execute(f"info symbol {pc:#x}", to_string=True).split(" in section")[0].split(" + ")[0]
        symbols.add(where)
        if not is_complete():
            instruction = gdb.execute(f"x/i {pc:#x}", to_string=True).strip()
            incomplete.append(f"{instruction}: {names(gdb.newest_frame())}")
        # What the slow path calls are ordinary C functions; native/tests/test_unwind.c steps through them too.
        gdb.execute("nexti" if where == "ulp_slow_path" else "stepi", to_string=True)
    print("WALK " + json.dumps({"steps": steps, "symbols": sorted(symbols), "incomplete": incomplete}))


run()
