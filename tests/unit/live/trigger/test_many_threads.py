# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A look at a process takes time in proportion to its threads, whose stacks make its map longer, too."""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from conftest import compiled

from ansible_collections.libpulp.livepatch.plugins.module_utils.process import maps, migration, procfs

# Argument: the number of threads that sleep outside; one more is inside, until a line comes.
PROGRAM = """
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern int call(int (*function)(void));
static sem_t release;

static void *sleeper(void *nothing)
{
    pause();
    return nothing;
}

static int wait_inside(void)
{
    while (sem_wait(&release))
        ;
    return 0;
}

static void *insider(void *nothing)
{
    call(wait_inside);
    pause();
    return nothing;
}

int main(int count, char **words)
{
    pthread_attr_t small;
    pthread_t thread;
    char line[16];

    (void)count;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 32768);
    for (int i = atoi(words[1]); i > 0; i--)
        if (pthread_create(&thread, &small, sleeper, 0))
            return 1;
    if (pthread_create(&thread, 0, insider, 0))
        return 1;
    puts("ready");
    fflush(stdout);
    if (fgets(line, sizeof line, stdin))
        sem_post(&release);
    puts("released");
    fflush(stdout);
    for (;;)
        pause();
}
"""
LIBRARY = """
int answer(void) { return 20; }
int call(int (*function)(void)) { return function() + 1; }
"""


@pytest.fixture(scope="module", name="program")
def fixture_program(tmp_path_factory):
    from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import describe
    from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack

    directory = tmp_path_factory.mktemp("threads")
    for name, text in (("program", PROGRAM), ("library", LIBRARY), ("patch", "int new_answer(void) { return 21; }\n")):
        (directory / f"{name}.c").write_text(text, encoding="utf-8")
    library, patch = directory / "libmany.so", directory / "patch.so"
    shared = ("-fPIC", "-shared", "-Wl,--build-id")
    compiled(*shared, "-fpatchable-function-entry=16,14", "-Wl,-soname,libmany.so", directory / "library.c",
             "-o", library)
    compiled(*shared, directory / "patch.c", "-o", patch)
    compiled("-pthread", directory / "program.c", library, f"-Wl,-rpath,{directory}", "-o", directory / "program")
    pack(describe(str(patch), str(library), {"answer": "new_answer"}), directory / "many.ulp")
    return directory


@pytest.fixture(name="crowd")
def fixture_crowd(program, runtime):
    """A function that starts the program with so many threads."""
    started = []

    def crowd(count):
        process = subprocess.Popen(
            [program / "program", str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=dict(os.environ, LD_PRELOAD=str(runtime / "libpulp.so")))
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield crowd
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.fixture(name="tools")
def fixture_tools(program, files):
    """The Trigger of the livepatch."""
    from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
    from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options
    from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.trigger import Trigger

    return Trigger(read_livepatch(program / "many.ulp"), files, Options())


@pytest.fixture(name="readings")
def fixture_readings(monkeypatch):
    """The lengths of what was read of /proc, by kind: of maps, and of all else."""
    lengths = {"maps": [], "all": []}
    read_long, read_bytes = procfs.read_long, procfs.read_bytes

    def counting(read):
        def counted(pid, path, *limits):
            data = read(pid, path, *limits)
            lengths["maps" if path.endswith("maps") else "all"].append(len(data))
            return data
        return counted

    monkeypatch.setattr(maps, "read_long", counting(read_long))
    monkeypatch.setattr(procfs, "read_bytes", counting(read_bytes))
    return lengths


def test_map_is_not_read_for_every_thread(crowd, tools, readings):
    """Guards against time that grows with the square. Seen to fail with as many readings as threads, and more."""
    counts = []
    for threads in (50, 500):
        process = crowd(threads)
        assert tools.apply(process.pid).threads_pending == 1
        for length in readings.values():
            length.clear()
        row = tools.check(process.pid)
        assert (row.outcome, row.threads, row.threads_pending) == ("pending", threads + 2, 1)
        counts.append({kind: len(length) for kind, length in readings.items()})
        assert counts[-1]["maps"] < 40, counts
    assert counts[1]["all"] < 12 * counts[0]["all"], counts


def test_thread_that_comes_out_of_a_crowd(crowd, tools):
    process = crowd(100)
    assert tools.apply(process.pid).threads_pending == 1
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "released\n"
    deadline = time.monotonic() + 60
    # That a thread is outside holds for its next entry once the runtime is told.
    while (row := tools.apply(process.pid)).threads_pending and time.monotonic() < deadline:
        pass
    assert row.outcome == "already_patched"


def test_map_that_has_changed_meanwhile(crowd, tools, monkeypatch):
    """Guards what was seen by a map that is no more: each of these threads is looked at again, by itself."""
    process = crowd(60)
    alone = []
    outside = migration._Census.outside

    def counting(census, tid, *by):
        if not by:
            alone.append(tid)
        return outside(census, tid, *by)

    monkeypatch.setattr(migration._Census, "outside", counting)
    monkeypatch.setattr(migration._Evidence, "agrees", lambda evidence, memory_map: False)
    assert tools.apply(process.pid).threads_pending == 1
    assert len(set(alone)) >= 60


def test_evidence_holds_only_while_the_map_says_the_same(crowd, tools):
    process = crowd(3)
    memory_map = maps.MemoryMap(process.pid)
    stack = next(found for found in maps.read_maps(process.pid) if found.path == "[stack]")
    evidence = migration._Evidence()
    evidence.places.append((stack.start, memory_map.around(stack.start)))
    assert evidence.agrees(memory_map)
    evidence.code = memory_map.code[1:]
    assert not evidence.agrees(memory_map)
    evidence.code = None
    evidence.places.append((16, None))
    assert evidence.agrees(memory_map)
    evidence.places.append((stack.start, None))
    assert not evidence.agrees(memory_map)


def test_many_ranges_of_code():
    """Guards the loop that stands in for the search: the same words count."""
    pairs = tuple((0x7F0000000000 + (index << 24), 0x7F0000000040 + (index << 24)) for index in range(1000))
    inside = migration.Inside(pairs, frozenset)
    for index in (0, 1, 500, 999):
        start, end = pairs[index]
        for word, counts in ((start, True), (end - 1, True), (end, False), (start - 1, False)):
            data = bytes(4096) + word.to_bytes(8, "little") + bytes(8)
            assert migration.first_inside(data, inside) == (word if counts else None)
