# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Code that loaded the runtime is taken away once no thread is in it, nor one that was started from there meanwhile."""

from __future__ import annotations

import os

import pytest
from conftest import compiled
from harness.polling import wait_until
from harness.victim import Victim

from ansible_collections.libpulp.livepatch.plugins.module_utils.process.memory import read_memory
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.subject import examine
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee.bootstrap import Place
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.attaching.clearance import clear
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.drive import drive

# A page of code stands for the one that loads the runtime: a thread in it starts another one there, and leaves.
SOURCE = r"""
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define IN_THE_CODE __attribute__((noinline, aligned(4096), section(".text.the_code")))

static volatile int may_start, has_left, may_end, is_there, has_ended;

static IN_THE_CODE void *work(void *argument)
{
    is_there = 1;
    while (!may_end)
        __builtin_ia32_pause();
    has_ended = 1;
    return argument;
}

/* In the same page as what comes before. */
static __attribute__((noinline, section(".text.the_code"))) void start_worker(void)
{
    pthread_t worker;

    while (!may_start)
        __builtin_ia32_pause();
    pthread_create(&worker, NULL, work, NULL);
    while (!is_there)
        __builtin_ia32_pause();
}

static void *borrowed(void *argument)
{
    start_worker();
    has_left = 1;
    while (!may_end)
        __builtin_ia32_pause();
    return argument;
}

int main(void)
{
    char line[20];
    pthread_t thread;

    pthread_create(&thread, NULL, borrowed, NULL);
    setvbuf(stdout, NULL, _IONBF, 0);
    puts("ready");
    while (fgets(line, sizeof line, stdin)) {
        if (!strcmp(line, "where\n"))
            printf("%lu\n", (unsigned long)work);
        else if (!strcmp(line, "start\n"))
            may_start = 1;
        else if (!strcmp(line, "left\n"))
            printf("%d\n", has_left);
        else if (!strcmp(line, "end\n"))
            may_end = 1;
        else if (!strcmp(line, "ended\n"))
            printf("%d\n", has_ended);
    }
}
"""
SIZE = 0x200


@pytest.fixture(name="victim")
def fixture_victim(tmp_path):
    (tmp_path / "app.c").write_text(SOURCE, encoding="utf-8")
    compiled("-O1", tmp_path / "app.c", "-o", tmp_path / "app", "-pthread")
    victim = Victim([tmp_path / "app"], preload=[])
    yield victim
    victim.kill()


def test_thread_that_one_inside_has_started(victim, files):
    """It came after the threads were listed, and is in the code when the one that started it has left.

    Seen to take the code away: the thread would have executed zeros.
    """
    address = int(victim.ask("where"))
    subject = examine(victim.pid, files, absent=True)
    code = read_memory(victim.pid, address, SIZE)
    # Where the head would be there are no words, and nobody forks.
    place = Place(address, bytes(SIZE), address)
    memory = os.open(f"/proc/{victim.pid}/mem", os.O_RDWR)
    try:
        clearing = clear(subject, place, memory)
        next(clearing)
        victim.send("start")
        wait_until(lambda: victim.ask("left") == "1", "the thread has left the code")

        assert drive(clearing) is False
        assert read_memory(victim.pid, address, SIZE) == code

        victim.send("end")
        wait_until(lambda: victim.ask("ended") == "1", "the other one has left it, too")
        assert drive(clear(subject, place, memory)) is True
        assert read_memory(victim.pid, address, SIZE) == bytes(SIZE)
    finally:
        os.close(memory)
