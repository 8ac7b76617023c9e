# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process does while the worker loads a livepatch in it: forks, and changes of its namespaces.

The loader calls a constructor of the patch library, which waits until the test lets it go on.
"""

from __future__ import annotations

import errno
import os
import subprocess
import threading

import pytest
from harness.polling import wait_until
from harness.victim import Victim
from test_stock import LIBZ, NEW, PATCH, PYTHON

from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import parse_description
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.trigger import Trigger

NEWNS, NEWUTS, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x10000000, 0x20000000, 0x40000000
OLD = "1.2.13 1013 7"
VICTIM = r"""
import ctypes, os, sys
z = ctypes.CDLL("libz.so.1")
z.zlibVersion.restype = ctypes.c_char_p
z.compressBound.restype = z.adler32_combine.restype = ctypes.c_ulong
libc = ctypes.CDLL(None, use_errno=True)
# Found now: later the loader is at work.
unshare, setns = libc.unshare, libc.setns
def answer():
    return f"{z.zlibVersion().decode()} {z.compressBound(1000)} {z.adler32_combine(1, 7, 3)}"
print("ready", flush=True)
for line in sys.stdin:
    what, *number = line.split()
    if what == "unshare":
        print(0 if unshare(int(number[0])) == 0 else ctypes.get_errno(), flush=True)
    elif what == "setns":
        file = os.open("/proc/self/ns/mnt", os.O_RDONLY)
        print(0 if setns(file, int(number[0])) == 0 else ctypes.get_errno(), flush=True)
        os.close(file)
    elif what == "fork":
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, answer().encode())
            os._exit(0)
        os.close(writer)
        print(os.read(reader, 100).decode(), os.waitpid(child, 0)[1], flush=True)
        os.close(reader)
    else:
        print(answer(), flush=True)
"""
WAITING = r"""
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void wait_for_the_test(void)
{
    close(open(DIRECTORY "/entered", O_CREAT | O_WRONLY, 0600));
    for (int i = 0; access(DIRECTORY "/go", F_OK) && i < 60000; i++)
        usleep(1000);
}
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(PYTHON, os.X_OK), reason="needs root, and the distribution's python3")


class _Applying:
    """Applies a livepatch to a victim in a thread of its own; ``row`` is what came of it."""

    def __init__(self, directory, files, pid):
        (directory / "patch.c").write_text(WAITING + PATCH, encoding="utf-8")
        subprocess.run(["gcc", "-O2", "-fPIC", "-shared", "-Wl,--build-id", f'-DDIRECTORY="{directory}"',
                        directory / "patch.c", "-o", directory / "patch.so"], check=True)
        (directory / "waiting.dsc").write_text(
            f"{directory}/patch.so\n@{LIBZ.resolve()}\nzlibVersion:new_version\ncompressBound:new_bound\n"
            "adler32_combine:new_combine\n", encoding="utf-8")
        pack(parse_description(directory / "waiting.dsc"), directory / "waiting.ulp")
        self.directory = directory
        self.row = None
        trigger = Trigger(read_livepatch(directory / "waiting.ulp"), files, Options(timeout=120))
        self._thread = threading.Thread(target=lambda: setattr(self, "row", trigger.apply(pid)))
        self._thread.start()
        try:
            wait_until((directory / "entered").exists, "the worker comes into the constructor")
        except BaseException:
            self.end()
            raise

    def end(self):
        """Let the constructor go on; the Row."""
        (self.directory / "go").touch()
        self._thread.join()
        return self.row


@pytest.fixture(name="python")
def fixture_python(runtime):
    victim = Victim([PYTHON, "-I", "-c", VICTIM], preload=[runtime / "libpulp.so"])
    yield victim
    victim.kill()


def test_while_the_worker_lives(python, files, tmp_path):
    """A child has the old functions, and lives.  The worker goes on in the namespaces that the process has by then.

    What the kernel lets only single-threaded processes do fails for that time, and for no longer: a limit.
    """
    applying = _Applying(tmp_path, files, python.pid)
    try:
        assert python.ask("fork") == f"{OLD} 0"
        assert [python.ask(f"unshare {NEWUSER}"), python.ask(f"setns {NEWNS}")] == [str(errno.EINVAL)] * 2
        assert [python.ask(f"unshare {flags}") for flags in (NEWUTS, NEWNET, NEWNS)] == ["0"] * 3
        assert python.ask("?") == OLD
    finally:
        row = applying.end()
    assert row.outcome == "patched", row
    assert python.ask("?") == NEW
    assert python.ask("fork") == f"{NEW} 0"
    assert [python.ask(f"setns {NEWNS}"), python.ask(f"unshare {NEWUSER}")] == ["0", "0"]
    trigger = Trigger(read_livepatch(tmp_path / "waiting.ulp"), files, Options())
    assert trigger.revert(python.pid).outcome == "reverted"
    assert python.ask("?") == OLD


def test_process_whose_children_get_another_pid_namespace(python, livepatch_of_libz, files):
    """The kernel lets it start no thread any more: refused in words."""
    assert python.ask(f"unshare {NEWPID}") == "0"
    row = Trigger(livepatch_of_libz, files, Options()).apply(python.pid)
    assert (row.outcome, row.changed) == ("failed", False)
    assert "could not start another thread" in row.reason
    assert python.ask("?") == OLD


@pytest.fixture(name="livepatch_of_libz")
def fixture_livepatch_of_libz(tmp_path):
    (tmp_path / "patch.c").write_text(PATCH, encoding="utf-8")
    subprocess.run(["gcc", "-O2", "-fPIC", "-shared", "-Wl,--build-id", tmp_path / "patch.c", "-o",
                    tmp_path / "patch.so"], check=True)
    (tmp_path / "plain.dsc").write_text(
        f"{tmp_path}/patch.so\n@{LIBZ.resolve()}\nzlibVersion:new_version\n", encoding="utf-8")
    pack(parse_description(tmp_path / "plain.dsc"), tmp_path / "plain.ulp")
    return read_livepatch(tmp_path / "plain.ulp")
