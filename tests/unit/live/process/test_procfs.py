# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading /proc."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.arch.system_calls import NUMBERS
from ansible_collections.libpulp.livepatch.plugins.module_utils.process import maps, procfs
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.errors import (
    ProcessDead,
    ProcessGone,
    ProcessUnpatchable,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.subject import alive, examine

NO_PID = 2 ** 22 + 1


def test_stat_with_parentheses_in_the_name(tmp_path):
    program = tmp_path / "a) R (b"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(program), "infinity"])
    try:
        stat = procfs.read_stat(process.pid)
        assert stat.name == "a) R (b"
        assert stat.threads == 1
        assert stat.start_ticks > 0
    finally:
        process.kill()
        process.wait()


def test_status_of_this_process():
    status = procfs.read_status(os.getpid())
    assert status.uid == os.geteuid()
    assert status.namespace_pids[0] == os.getpid()
    assert status.tracer_pid == 0


def test_system_call_of_a_blocked_process():
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        while procfs.read_stat(process.pid).state != "S" or procfs.read_stat(process.pid).name != "cat":
            pass
        where = procfs.read_system_call(process.pid, process.pid)
        found = maps.read_maps(process.pid)
        assert where.number == 0
        assert maps.mapping_at(found, where.stack_pointer).path == "[stack]"
        assert maps.mapping_at(found, where.instruction_pointer).executable
        lines = maps.MemoryMap(process.pid).lines
        for mapping in found:
            for address in (mapping.start, mapping.end - 1):
                assert maps.end_of_mapping(lines, address) == mapping.end
        assert maps.end_of_mapping(lines, found[0].start - 1) is None
    finally:
        process.kill()
        process.wait()


def test_no_such_process():
    with pytest.raises(ProcessGone, match=f"process {NO_PID} does not exist"):
        procfs.read_stat(NO_PID)
    with pytest.raises(ProcessGone):
        procfs.thread_ids(NO_PID)


def test_identity_of_another_process_with_the_same_pid():
    who = procfs.identity(os.getpid())
    procfs.confirm(who)
    with pytest.raises(ProcessGone, match="belongs to another process"):
        procfs.confirm(who._replace(start_ticks=who.start_ticks - 1))


def test_zombie(files):
    process = subprocess.Popen([sys.executable, "-c", ""])
    while procfs.read_stat(process.pid).state != "Z":
        pass
    with pytest.raises(ProcessDead, match=f"process {process.pid} .* is a zombie"):
        examine(process.pid, files)
    process.wait()
    with pytest.raises(ProcessGone):
        examine(process.pid, files)


def test_kernel_thread(kernel_thread):
    pid, name = kernel_thread
    with pytest.raises(ProcessUnpatchable, match=re.escape(f"process {pid} ({name}) is a kernel thread")):
        alive(pid)


def test_another_users_process(as_nobody, padded, start):
    victim = start(padded)
    assert as_nobody(maps.read_maps, victim.pid) == (
        "ProcessForbidden: "
        f"process {victim.pid} may not be examined by this user; run as root or as the process's owner"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            b"7f01-7f02 r-xp 00001000 fe:01 77                  /lib/a b.so (deleted)\n",
            (0x7F01, 0x7F02, "r-xp", 0x1000, os.makedev(0xFE, 1), 77, "/lib/a b.so", True),
        ),
        (b"7f01-7f02 rw-p 00000000 00:00 0 \n", (0x7F01, 0x7F02, "rw-p", 0, 0, 0, "", False)),
        (
            b"7f01-7f02 r--p 00000000 00:21 5 /tmp/new\\012line\n",
            (0x7F01, 0x7F02, "r--p", 0, os.makedev(0, 0x21), 5, "/tmp/new\nline", False),
        ),
    ],
)
def test_map_lines(line, expected):
    assert maps.parse_maps(line) == [maps.Mapping(*expected)]


# What Python's methods take for the end of a line or for white space, and file names may hold.
ODD = "a\x0bb\x0cc\rd\x1ce\x1df\x1eg\x85h\u2028i\u2029j k"


def test_mapped_file_whose_name_has_odd_characters(tmp_path):
    """Guards that maps are cut at newlines alone. Seen to fail with more lines than mappings."""
    odd = tmp_path / ODD
    odd.write_bytes(bytes(4096))
    program = (
        "import mmap, sys; stream = open(sys.argv[1], 'rb'); kept = mmap.mmap(stream.fileno(), 4096,"
        " prot=mmap.PROT_READ); print(flush=True); sys.stdin.read()"
    )
    # Its map stays as it is, unlike our own.
    command = [sys.executable, "-c", program, odd]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        try:
            wait_for_call(process.pid, "read")
            mappings = maps.read_maps(process.pid)
            (mapping,) = [found for found in mappings if found.path == str(odd)]
            lines = maps.MemoryMap(process.pid).lines
            assert maps.end_of_mapping(lines, mapping.start) == mapping.end
            assert len(lines) == len(mappings)
            assert all(maps.end_of_mapping(lines, found.start) == found.end for found in mappings)
        finally:
            process.kill()


def wait_for_call(pid, name):
    """Wait until the process is blocked in that system call."""
    deadline = time.monotonic() + 60
    while getattr(procfs.read_system_call(pid, pid), "number", None) != NUMBERS[name]:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("option, hides", [(b"", False), (b",hidepid=invisible", True), (b",hidepid=0", False)])
def test_mount_point_whose_name_has_odd_characters(option, hides):
    """Guards the same for mounts, which users may make themselves (FUSE). Seen to fail with ``IndexError``."""
    data = (
        b"20 1 0:5 / /proc rw,relatime shared:5 - proc proc rw" + option + b"\n"
        b"21 1 0:6 / /home/" + ODD.replace(" ", "\\040").encode() + b" rw - fuse x rw,user_id=1000\n"
    )
    assert procfs.parse_hidepid(data) is hides


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may have any groups it likes")
def test_status_of_a_process_with_many_groups():
    """Guards that a status is read to its end. Seen to fail with an inner PID that was the outer one, and no filter."""
    program = "import os, time; os.setgroups(range(1000000, 1004000)); print(flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        try:
            status = procfs.read_status(process.pid)
            assert len(procfs.read_bytes(process.pid, "status")) > 30000
            assert len(status.groups) == 4001
            # Both stand behind the groups.
            assert status.namespace_pids[0] == process.pid
            assert status.switches > 0
        finally:
            process.kill()


def test_code_maps_are_the_executable_ones():
    executable = [mapping for mapping in maps.read_maps(os.getpid()) if mapping.executable]
    assert executable
    assert maps.read_code_maps(os.getpid()) == executable
