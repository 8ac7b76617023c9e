# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes whose memory allocator is not the C library's, and of which no thread ever waits: see busy.c."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import compiled
from test_attach_killed import code_of_c_library, runtimes, signal_masks, until_answered

from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee import bootstrap

DIRECTORY = Path("/usr/lib/x86_64-linux-gnu")
LIBRARIES = {
    "jemalloc": DIRECTORY / "libjemalloc.so.2",
    "tcmalloc": DIRECTORY / "libtcmalloc_minimal.so.4",
    "mimalloc": DIRECTORY / "libmimalloc.so.2",
}
# Generous: the threads share the processors with everything else.
SECONDS = 60
# A malloc with a lock, which comes with the program or with a library. Pieces are powers of two, and are used again.
OWN = r"""
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#define KINDS 24
static union piece { union piece *next; size_t kind; char room[16]; } *spare[KINDS];
static char heap[1 << 26] __attribute__((aligned(16)));
static size_t used;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
void *malloc(size_t size)
{
    union piece *piece = NULL;
    size_t kind = 5;
    while (kind < KINDS && (size_t)1 << kind < size + sizeof *piece)
        kind++;
    if (kind == KINDS)
        return NULL;
    pthread_mutex_lock(&lock);
    /* Whoever allocates is mostly here. */
    for (volatile int i = 0; i < 500; i++)
        ;
    if (spare[kind]) {
        piece = spare[kind];
        spare[kind] = piece->next;
    } else if (used + ((size_t)1 << kind) <= sizeof heap) {
        piece = (union piece *)(heap + used);
        used += (size_t)1 << kind;
    }
    pthread_mutex_unlock(&lock);
    if (!piece)
        return NULL;
    piece->kind = kind;
    return piece + 1;
}
void free(void *memory)
{
    union piece *piece = memory;
    size_t kind;
    if (!piece--)
        return;
    kind = piece->kind;
    pthread_mutex_lock(&lock);
    piece->next = spare[kind];
    spare[kind] = piece;
    pthread_mutex_unlock(&lock);
}
void *calloc(size_t count, size_t size)
{
    void *found = malloc(count * size);
    return found ? memset(found, 0, count * size) : NULL;
}
void *realloc(void *old, size_t size)
{
    void *found = malloc(size);
    size_t before = old ? ((size_t)1 << ((union piece *)old)[-1].kind) - sizeof(union piece) : 0;
    if (old && found)
        memcpy(found, old, before < size ? before : size);
    free(old);
    return found;
}
"""


@pytest.fixture(name="own")
def fixture_own(tmp_path):
    source = tmp_path / "own.c"
    source.write_text(OWN, encoding="utf-8")
    return source


@pytest.mark.parametrize("mode", ["compute", "allocate"])
@pytest.mark.parametrize("whose", [*LIBRARIES, "own"])
def test_allocator_of_a_library(whose, mode, busy, own, padded, runtime, trigger, tmp_path):
    """A thread in the allocator is not at a safe point, wherever that is; one that computes beside it is.

    Seen to fail (own, allocate: the thread waits for ever for the lock that it holds) with the allocators of libraries
    left out of the grounds.
    """
    library = LIBRARIES.get(whose, tmp_path / "libown.so")
    if whose == "own":
        compiled("-fPIC", "-shared", "-fno-builtin", "-pthread", own, "-o", library)
    victim = busy(mode, 2, LD_PRELOAD=str(library))
    masks = signal_masks(victim)
    path = str(runtime / "libpulp.so")

    row = trigger(padded, runtime=path, timeout=SECONDS).apply(victim.pid)

    assert row.attached, row
    until_answered(victim, row, lambda: trigger(padded, runtime=path, timeout=SECONDS).apply(victim.pid))
    victim.wait(lambda: len(signal_masks(victim)) == len(masks), "the worker has ended")
    assert signal_masks(victim) == masks
    victim.goes_on()
    assert victim.end() == 0


def test_allocator_of_the_program(of_source, own, padded, runtime, trigger, calls, monkeypatch):
    """It may be anywhere in the program, and a running thread in it: that is told, and no thread is stopped for it.

    Seen to stop threads some 500 times, and to end with *run again*.
    """
    stop = bootstrap.Bootstrap.run

    def run(self):
        calls.note()
        return stop(self)

    monkeypatch.setattr(bootstrap.Bootstrap, "run", run)
    victim = of_source("busy", "compute", "-rdynamic", "-fno-builtin", own)
    code, masks = code_of_c_library(victim), signal_masks(victim)

    row = trigger(padded, runtime=str(runtime / "libpulp.so"), timeout=SECONDS).apply(victim.pid)

    assert (row.outcome, row.changed, row.attached) == ("not_patchable", False, False), row
    assert "the program's own memory allocator" in row.reason
    assert len(calls) == 0
    assert runtimes(victim) == 0
    assert (code_of_c_library(victim), signal_masks(victim)) == (code, masks)
    assert victim.ask("answer") == "20"
    assert victim.end() == 0
