# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What reads files of /proc: the kernel writes them, but the names in them are the processes'.

An input is a name. It is put where a process can put one, escaped as the kernel does it (seq_file_path(), proc(5)), and
everything around it must be read as without it.
"""

from __future__ import annotations

import os

from hypothesis import strategies as st

from ansible_collections.libpulp.livepatch.plugins.module_utils.printable import printable
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.affiliation import parse_container, parse_units
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.maps import (
    end_of_mapping,
    is_continued,
    parse_maps,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.procfs import (
    parse_hidepid,
    parse_stat,
    parse_status,
    text_lines,
)

from .files import Target

COMM = 15
CONTAINER = b"0123456789abcdef" * 4
STAT = (b"4711 (%s) S 17 4711 4711 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 3 0 98765 4096 1 18446744073709551615 1 1 0 0 0"
        b" 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n")
STATUS = (b"Name:\t%s\nUmask:\t0022\nPid:\t4711\nTracerPid:\t0\nUid:\t7\t8\t8\t8\nGid:\t9\t10\t10\t10\n"
          b"Groups:\t11 12 \nNSpid:\t4711\t1\n"
          b"SigPnd:\t0000000000000004\nShdPnd:\t0000000000000001\nSigBlk:\t0\nSeccomp:\t2\n"
          b"voluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t6\n")
MAPS = (b"1000-3000 r-xp 00001000 08:01 77                         /usr/lib/first.so\n"
        b"3000-5000 r-xp 00000000 08:01 78                         /%s\n"
        b"5000-6000 r-xp 00000000 08:01 78                         /%s (deleted)\n"
        b"7ffc0000-7ffd0000 rw-p 00000000 00:00 0                          [stack]\n")
CGROUP = (b"1:name=systemd:/user.slice/%s/nginx.service/docker-%s.scope\n"
          b"0::/system.slice/%s/nginx.service/docker-%s.scope\n")
MOUNTS = (b"22 1 8:1 / /mnt/%s rw - ext4 /dev/sda1 rw\n23 1 0:21 / /proc rw - proc proc rw,hidepid=invisible\n"
          b"24 1 0:22 / /mnt/%s rw - tmpfs %s rw,hidepid=0\n")


def escaped(name, which):
    """``name`` with each byte of ``which`` as a backslash and three octal digits, as mangle_path() of the kernel."""
    return b"".join(b"\\%03o" % byte if byte in which else bytes([byte]) for byte in name)


def names_in_proc(data):
    name = data.replace(b"\0", b"")
    comm = name[:COMM]
    stat = parse_stat(STAT % comm)
    assert (stat.state, stat.parent, stat.threads, stat.start_ticks) == ("S", 17, 3, 98765)
    assert stat.name == printable(comm.decode("utf-8", "replace"))
    status = parse_status(STATUS % comm.replace(b"\\", b"\\\\").replace(b"\n", b"\\n"))
    assert (status.uid, status.groups, status.seccomp, status.namespace_pids) == (8, (10, 11, 12), 2, (4711, 1))
    assert (status.pending, status.switches) == (5, 11)

    path = name.replace(b"\n", b"\\012")
    maps = MAPS % (path, path)
    found = parse_maps(maps)
    assert [mapping.start for mapping in found] == [0x1000, 0x3000, 0x5000, 0x7FFC0000]
    assert [mapping.inode for mapping in parse_maps(maps, executable_only=True)] == [77, 78, 78]
    if b"\\012" not in name and not name.endswith(b" (deleted)"):
        assert [os.fsencode(mapping.path) for mapping in found[1:3]] == [b"/" + name] * 2
        assert [mapping.deleted for mapping in found] == [False, False, True, False]
    lines = text_lines(maps)
    assert [end_of_mapping(lines, address) for address in (0x2FFF, 0x3000, 0x6000)] == [0x3000, 0x5000, None]
    assert is_continued(lines, 0x3000) and not is_continued(lines, 0x5000)

    # A control group's name has neither of these.
    group = name.replace(b"\n", b"").replace(b"/", b"").strip(b".") or b"x"
    cgroup = CGROUP % (group, CONTAINER, group, CONTAINER)
    units = parse_units(cgroup)
    assert units[-2:] == ("nginx.service", f"docker-{CONTAINER.decode()}.scope")
    assert parse_container(cgroup) == CONTAINER[:12].decode()
    mount = escaped(name, b" \t\n\\#")
    assert parse_hidepid(MOUNTS % (mount, mount, mount))
    return True


def names(_sounds):
    """Names, with what ends or divides a line or a field somewhere in them."""
    pieces = [b"\n", b"\r", b"\x0b", b"\x0c", b"\x1c", b"\x85", b"\xc2\x85", b"\xe2\x80\xa8", b" ", b"\t", b"(", b")",
              b") R 1", b":", b"\\012", b"\\", b" (deleted)", b"/proc", b"hidepid=0", b"nginx.service", b"r-xp",
              b"3000-5000 ", b"Seccomp:\t0", b"\x1b[2J", b"\xff", b"#"]
    return st.lists(st.one_of(st.sampled_from(pieces), st.binary(max_size=4)), max_size=12).map(b"".join)


TARGETS = (Target("procfs", names_in_proc, names),)
