# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads that may be borrowed to load the runtime, although more than a plain call is on their stacks."""

from __future__ import annotations

import os

import pytest
from conftest import Busy, compiled

from ansible_collections.libpulp.livepatch.plugins.module_utils.process.procfs import read_stat

# As in busy.c: what the library has answered last, and the rounds.
SHOWN = r"""
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <unistd.h>
int answer(int value);
static volatile long *volatile shown;
static void round_on(void)
{
    shown[0] = answer(1);
    shown[1]++;
}
static void open_shown(const char *path)
{
    shown = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, open(path, O_RDWR), 0);
}
"""
# The children of PostgreSQL's postmaster live in the handler that has forked them.
HANDLER = SHOWN + r"""
static void live_here(int number)
{
    (void)number;
    for (;;) {
        round_on();
        usleep(1000);
    }
}
int main(int argc, char **argv)
{
    (void)argc;
    open_shown(argv[1]);
    signal(SIGALRM, live_here);
    ualarm(1000, 0);
    WAIT;
    return 1;
}
"""
# The program has a malloc of its own, in which its first thread nearly always is.
ALLOCATOR = SHOWN + r"""
#define OWN_SIZE 99
static char heap[1 << 26], own_pieces[128];
static size_t used;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
void *malloc(size_t size)
{
    size_t *piece;
    pthread_mutex_lock(&lock);
    piece = (size_t *)(size == OWN_SIZE ? own_pieces : heap + used);
    size = (size + 31) & ~(size_t)15;
    /* The first thread's come again and again. */
    used += (char *)piece == own_pieces ? 0 : size;
    pthread_mutex_unlock(&lock);
    *piece = size;
    return piece + 2;
}
void free(void *memory) { (void)memory; }
void *calloc(size_t count, size_t size) { return memset(malloc(count * size), 0, count * size); }
void *realloc(void *old, size_t size)
{
    size_t *piece = old, *found = malloc(size);
    size_t before = piece ? piece[-2] - 16 : 0;
    return piece ? memcpy(found, old, before < size ? before : size) : found;
}
static pthread_cond_t told = PTHREAD_COND_INITIALIZER;
static void *wait_to_be_told(void *own)
{
    pthread_mutex_lock(own);
    for (;;)
        pthread_cond_wait(&told, own);
    return NULL;
}
int main(int argc, char **argv)
{
    static pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
    pthread_t thread;
    (void)argc;
    open_shown(argv[1]);
    pthread_create(&thread, NULL, wait_to_be_told, &own);
    for (;;) {
        for (int i = 0; i < 10000; i++)
            *(volatile char *)malloc(OWN_SIZE) = 1;
        round_on();
    }
}
"""


@pytest.fixture(name="run")
def fixture_run(padded, tmp_path):
    """A function that compiles and starts a program, as a Busy victim."""
    started = []

    def run(source, *options):
        file, program, shown = tmp_path / "program.c", tmp_path / "program", tmp_path / "shown"
        file.write_text(source, encoding="utf-8")
        compiled("-pthread", *options, file, "-L", padded.directory, "-lvictim", "-o", program)
        shown.write_bytes(bytes(4096))
        victim = Busy([program, shown], shown, 1, env=dict(os.environ, LD_LIBRARY_PATH=str(padded.directory)))
        started.append(victim)
        victim.goes_on()
        return victim

    yield run
    for victim in started:
        victim.kill()


def attach_and_patch(victim, padded, runtime, trigger):
    row = trigger(padded, attach=True, runtime=str(runtime / "libpulp.so"), timeout=60).apply(victim.pid)
    assert row.attached, row
    assert row.outcome in ("patched", "pending"), row.reason
    victim.goes_on()
    assert victim.ask("answer") == "5001"
    assert victim.end() == 0


@pytest.mark.parametrize("wait", ["for (;;) select(0, 0, 0, 0, 0)", "pause()", "for (;;) shown[2]++"])
def test_thread_that_lives_in_a_signal_handler(wait, run, padded, runtime, trigger):
    """The handler has interrupted a plain call, or the program itself: nobody holds a lock.

    Seen to be refused after the whole time limit, with *is called back by the C library*.
    """
    attach_and_patch(run(HANDLER.replace("WAIT", wait)), padded, runtime, trigger)


def test_own_allocator(run, padded, runtime, trigger):
    """A thread that waits on a condition is not in the allocator, which may be anywhere in the program.

    Seen to be refused after the whole time limit, with *is perhaps in the program's own memory allocator*.
    """
    attach_and_patch(run(ALLOCATOR, "-rdynamic", "-fno-builtin"), padded, runtime, trigger)


def test_main_thread_that_has_ended(padded, start, trigger, runtime):
    """The code that has loaded the runtime goes, as the main thread can't be in it any more.

    Seen to fail (it *stays behind the C library's code*, and whatever was done next *an attach was cut off*) with the
    main thread waited for.
    """
    victim = start(padded, "orphan", preload=False)
    victim.wait(lambda: read_stat(victim.pid).state == "Z", "its main thread has ended")
    attaching = trigger(padded, runtime=str(runtime / "libpulp.so"), wait_migrated=20)
    row = attaching.apply(victim.pid)
    assert (row.outcome, row.attached, row.reason) == ("patched", True, ""), row
    assert victim.ask("answer") == "5001"
    row = attaching.revert(victim.pid)
    assert row.outcome == "reverted" and "cut off" not in row.reason, row
