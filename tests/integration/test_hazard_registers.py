# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every register and flag that a program can use, live when its thread is diverted, and through the slow path."""

from __future__ import annotations

import pytest

# Bits of XCR0.
X87, SSE, AVX, AVX512, PKRU = 1, 2, 4, 0xE0, 0x200
COMPONENTS = {"x87": X87, "sse": SSE, "avx": SSE | AVX, "avx512": SSE | AVX | AVX512, "pkru": PKRU}


@pytest.fixture
def victim(variant, target, start):
    return start(target("registers", variant))


@pytest.fixture
def patch(variant, target, livepatch):
    build = target("registers", variant)
    names = ["record", "chained"] + (["nested"] if variant.compilers[0] == "gcc" else [])
    return livepatch(build.patch("registers", {name: name + "_new" for name in names}, link=[build.library]))


@pytest.fixture(params=COMPONENTS)
def components(request, victim):
    """A part of the extended state that this processor has."""
    wanted = COMPONENTS[request.param]
    if victim.number("components") & wanted != wanted:
        pytest.skip(f"this processor, or its kernel, has no {request.param} state")
    return wanted


def release(victim, address):
    """Set the word for which the victim looks: no signal, which would save and restore registers, too."""
    with open(f"/proc/{victim.pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(address)
        memory.write(b"\1" + b"\0" * 7)


def test_through_the_slow_path(components, victim, patch):
    """Guards what ulp_slow_path saves: general registers, r10 and r11, words passed on the stack, the extended state.

    With x87, all eight of its registers are in use and its control word is unusual, which the runtime must leave
    alone; the vector registers are saved with all parts that the processor has, those of AVX-512 included. Seen to
    fail with ULP_VECTOR_STATE without the bit of SSE or of AVX, and with r10 not put back.
    """
    for change, version in ((None, 1), (patch.apply, 2), (patch.revert, 1)):
        if change:
            change(victim)
        for _call in range(2):
            assert victim.ask(f"call {components}") == f"{version} none"


def test_diverted_with_everything_live(components, victim, patch):
    """Guards what the diversion saves and ulp_request_entry puts back, of a thread that computes without a call.

    All general registers, the flags (direction and alignment check, too), the red zone, the extended state. Seen to
    fail with the block written into the red zone, with the direction flag not put back, and with the extended state not
    put back.
    """
    for change, version in ((patch.apply, 2), (patch.revert, 1)):
        address = victim.number(f"spin {components}")
        change(victim)
        release(victim, address)
        assert victim.receive() == "none"
        assert victim.ask(f"call {components}") == f"{version} none"


def test_copying_backwards(victim, patch):
    """Guards the direction flag: a C function is entered with it clear, and the thread must have it set again.

    Seen to fail with the flag cleared in the saved registers, too.
    """
    for change in (patch.apply, patch.revert, patch.apply, patch.revert):
        address = victim.number("backwards")
        change(victim)
        release(victim, address)
        assert victim.receive() == "none"


def test_static_chain(variant, victim, patch):
    """Guards r10, by which a nested function finds the variables of the function around it.

    Seen to fail with r10 zero behind the slow path.
    """
    nested = variant.compilers[0] == "gcc"
    for change, version in ((None, 1), (patch.apply, 2), (patch.revert, 1)):
        if change:
            change(victim)
        for _call in range(2):
            assert victim.ask("nested") == (str(version) if nested else "none")
            assert victim.number("chain") == version
        if change:
            # The other way round: it is the first call after the publish that goes through the slow path.
            (patch.revert if change == patch.apply else patch.apply)(victim)
            assert victim.number("chain") == 3 - version
            change(victim)
            assert victim.number("chain") == version
