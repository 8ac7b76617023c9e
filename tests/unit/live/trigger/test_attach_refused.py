# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes to which nobody can attach: each is told why in one sentence, and goes on as it was.

Programs on musl, static ones and those of other users are in test_bad_processes.py.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import tempfile
from pathlib import Path

import pytest
from conftest import compiled
from harness.foreign_memory import write_memory
from test_attach_killed import code_of_c_library, runtimes

from ansible_collections.libpulp.livepatch.plugins.module_utils import abi
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import UlpError
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.process import procfs
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.subject import examine
from ansible_collections.libpulp.livepatch.plugins.module_utils.tracee import custody, requests
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger import source
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.attaching import attach, cut_off
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing import seccomp_check
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.job import Job
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.source import Source

KILL_PROCESS, ERRNO_EPERM = "0x80000000", "0x50001"
CLONE3, MEMBARRIER, RSEQ, GETITIMER = "435", "324", "334", "36"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# More static thread-local storage than the C library has to spare, taken once the program has started.
GREEDY = """
#include <dlfcn.h>
__attribute__((constructor)) static void take(void)
{
    for (int i = 0; i < 3; i++) {
        char path[] = "DIRECTORY/0.so";
        path[sizeof path - 5] = '0' + i;
        dlopen(path, RTLD_NOW);
    }
}
"""
TAKES = """
static __thread char taken[700] __attribute__((tls_model("initial-exec")));
char *where(void) { return taken; }
"""


@pytest.fixture(name="refused")
def fixture_refused(padded, runtime, trigger):
    """A function that tries to attach to a victim, and gives the reason why that was refused."""

    def refused(victim, outcome="not_patchable", **options):
        code, masks = code_of_c_library(victim), len(procfs.thread_ids(victim.pid))
        row = trigger(padded, runtime=str(runtime / "libpulp.so"), **options).apply(victim.pid)
        assert (row.outcome, row.changed, row.attached) == (outcome, False, False), row
        assert runtimes(victim) == 0
        assert len(procfs.thread_ids(victim.pid)) == masks
        assert code_of_c_library(victim) == code
        assert victim.ask("answer") == "20"
        return row.reason

    return refused


@needs_root
@pytest.mark.parametrize(("number", "name"), [(MEMBARRIER, "membarrier"), (CLONE3, "clone3")])
def test_filter_that_kills(number, name, padded, start, refused):
    """Seen to end by SIGSYS without require_permitted()."""
    victim = start(padded, "commands", number, KILL_PROCESS, preload=False)
    assert f"seccomp filter that denies the system call {name}" in refused(victim)


def test_no_static_storage_is_left(padded, start, refused, tmp_path):
    """The loader itself says so, and the process lives.  Seen to leave the code behind, with *nothing was changed*."""
    (tmp_path / "takes.c").write_text(TAKES, encoding="utf-8")
    (tmp_path / "greedy.c").write_text(GREEDY.replace("DIRECTORY", str(tmp_path)), encoding="utf-8")
    for number in range(3):
        compiled("-fPIC", "-shared", tmp_path / "takes.c", "-o", tmp_path / f"{number}.so")
    compiled("-fPIC", "-shared", tmp_path / "greedy.c", "-o", tmp_path / "greedy.so")
    victim = start(padded, preload=False, besides=[tmp_path / "greedy.so"])
    assert "static TLS" in refused(victim)


# The C library's function is called in the end, but not before this one has taken note of the thread.
KNOWS_THREADS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
static __thread int known;
__attribute__((constructor)) static void know_the_first(void) { known = 1; }
struct start { void *(*work)(void *); void *argument; };
static void *begin(void *argument)
{
    struct start start = *(struct start *)argument;
    known = 1;
    return start.work(start.argument);
}
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*work)(void *), void *argument)
{
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    struct start *start = malloc(sizeof *start);
    *start = (struct start){work, argument};
    return create(thread, attributes, begin, start);
}
void *calloc(size_t count, size_t size)
{
    extern void *__libc_calloc(size_t, size_t);
    if (!known)
        abort();
    return __libc_calloc(count, size);
}
"""


def test_something_takes_the_place_of_pthread_create(padded, start, refused, tmp_path):
    """As ThreadSanitizer does, to which the worker would be unknown.  Seen to end the process (here by SIGABRT)."""
    (tmp_path / "knows.c").write_text(KNOWS_THREADS, encoding="utf-8")
    compiled("-fPIC", "-shared", tmp_path / "knows.c", "-o", tmp_path / "knows.so")
    victim = start(padded, preload=False, besides=[tmp_path / "knows.so"])
    why = refused(victim)
    assert f"{tmp_path}/knows.so takes the place of pthread_create()" in why, why
    assert victim.end() == 0


def test_no_room_for_the_code(padded, start, refused, files):
    """Seen to be overwritten where nobody looked at what lies there."""
    victim = start(padded, preload=False)
    subject = examine(victim.pid, files, absent=True)
    with open(f"/proc/{victim.pid}/mem", "r+b", buffering=0) as memory:
        for address, room in cut_off.rooms_for_code(subject, cut_off.read_maps(victim.pid), files):
            memory.seek(address)
            memory.write(b"\xcc" * room)
    assert "has no room for the code" in refused(victim)


def test_no_room_for_a_thread(padded, start, refused):
    """RLIMIT_AS.  Seen to leave the code behind, which had been run and did its best."""
    victim = start(padded, preload=False)
    size = int(Path(f"/proc/{victim.pid}/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.prlimit(victim.pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
    assert "cannot start a thread to load the runtime" in refused(victim, "failed")
    resource.prlimit(victim.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@needs_root
@pytest.mark.parametrize(("limit", "outcome", "why"), [
    (1 << 18, "failed", "cannot start a thread to load the runtime"),
    (1 << 20, "not_patchable", "cannot load the runtime"),
])
def test_more_memory_than_may_be_locked(limit, outcome, why, padded, start, refused):
    """mlockall(2) with MCL_FUTURE: what we map is locked, too, and may be more than RLIMIT_MEMLOCK allows."""
    wrap = ("prlimit", f"--memlock={limit}", "setpriv", "--bounding-set=-ipc_lock")
    victim = start(padded, preload=False, wrap=wrap)
    assert victim.ask("lock memory") == "locked"
    assert why in refused(victim, outcome=outcome)
    assert victim.end() == 0


def test_memory_that_is_locked(padded, start, runtime, trigger):
    victim = start(padded, preload=False)
    if victim.ask("lock memory") != "locked":
        pytest.skip("this user may not lock memory")
    row = trigger(padded, runtime=str(runtime / "libpulp.so")).apply(victim.pid)
    assert (row.outcome, row.attached) == ("patched", True), row
    assert victim.ask("answer") == "5001"
    assert victim.end() == 0


@needs_root
def test_set_user_id_program(padded, start, runtime, trigger, as_nobody):
    """Whoever has started it may not even look; root attaches."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as path:
        directory = Path(path)
        directory.chmod(0o755)
        app = directory / "app"
        # The loader passes over LD_LIBRARY_PATH.
        shutil.copy(padded.library, directory)
        compiled("-pthread", Path(__file__).parent.parent / "app.c", "-L", directory, "-lvictim",
                 f"-Wl,-rpath,{directory}", "-o", app)
        app.chmod(0o4755)
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        victim = start(padded._replace(app=app), preload=False, wrap=nobody)
        if procfs.read_status(victim.pid).uid != 0:
            pytest.skip("this file system does not let programs become another user")
        attaching = trigger(padded, runtime=str(runtime / "libpulp.so"))
        assert "may not be examined by this user" in as_nobody(lambda: attaching.apply(victim.pid).reason)
        assert runtimes(victim) == 0
        row = attaching.apply(victim.pid)
        assert (row.outcome, row.attached) == ("patched", True), row
        assert victim.ask("answer") == "5001"
        assert victim.end() == 0


def test_shadow_stack(padded, start, refused, monkeypatch):
    """As the kernel tells it, proc_pid_status(5), of a process on hardware that has one."""
    victim = start(padded, preload=False)
    read = procfs.read_bytes
    canned = b"x86_Thread_features:\tshstk wrss \nx86_Thread_features_locked:\tshstk wrss \n"
    monkeypatch.setattr(
        procfs, "read_bytes", lambda pid, path: read(pid, path) + (canned if path == "status" else b""))
    assert "runs with a shadow stack" in refused(victim)


def test_rule_forbids(padded, start, refused):
    victim = start(padded, preload=False)
    assert "a rule says so" in refused(victim, forbids_attaching=lambda pid: f"a rule says so of {pid}")


def test_it_is_written_down_before_anything_is_touched(padded, start, refused, runtime, trigger, monkeypatch):
    """PID, name and the runtime's hash, before the first seize; where that fails, no thread is seized at all."""
    victim = start(padded, preload=False)
    seized = []
    request = custody.request

    def noted(number, pid, tid, *rest):
        if number == requests.SEIZE:
            seized.append(tid)
        return request(number, pid, tid, *rest)

    monkeypatch.setattr(custody, "request", noted)

    def full(pid, name, digest):
        written.append((pid, name, digest, list(seized)))
        raise UlpError("the ledger cannot be written")

    written = []
    assert refused(victim, "failed", record_attaching=full) == "the ledger cannot be written"
    path = runtime / "libpulp.so"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert written == [(victim.pid, victim.name, digest, [])] and not seized

    def kept(*what):
        written.append((*what, list(seized)))

    assert trigger(padded, runtime=str(path), record_attaching=kept).apply(victim.pid).outcome == "patched"
    assert written[1] == written[0] and seized


@pytest.mark.parametrize(("versions", "why"), [
    ({"libc.so.6": ("GLIBC_2.2.5", "GLIBC_9.99")}, "runs a libc.so.6 without GLIBC_9.99, which the runtime PATH needs"),
    ({"libelsewhere.so.1": ()}, "has not loaded libelsewhere.so.1, which the runtime PATH needs"),
])
def test_what_the_runtime_needs_is_not_there(versions, why, padded, start, refused, runtime, monkeypatch):
    """As in a container with a C library of its own: both are named, and nothing is seized."""
    read = source.read_runtime_file
    monkeypatch.setattr(source, "read_runtime_file", lambda path: read(path)._replace(versions=versions))
    monkeypatch.setattr(custody, "request", lambda *_words: pytest.fail("a thread is seized"))
    assert why.replace("PATH", str(runtime / "libpulp.so")) in refused(start(padded, preload=False))


@pytest.mark.parametrize("words", ["other process", "worker has gone"])
def test_claim_that_is_void(words, padded, start, files, runtime, trigger):
    """A PID recurs: whose start time is another was made elsewhere, before a fork(2).  So is one without its worker.

    Seen to wait for it until the time was over without _is_ours().
    """
    victim = start(padded, preload=False)
    path = str(runtime / "libpulp.so")
    subject = examine(victim.pid, files, absent=True)
    job = Job(Source(read_livepatch(padded.livepatch)), files, Options(runtime=path))
    _runtime, layout, _reservation = attach._examined(job, subject)
    ticks = subject.identity.start_ticks & 0xFFFFFFFF
    other = words == "other process"
    claim = (ticks - 1 if other else ticks) << 32 | 4711
    made = abi.BOOTSTRAP_WORDS.pack(
        claim=claim, begun=4711, stage=abi.BOOTSTRAP_STARTED, thread=victim.pid,
        worker=victim.pid if other else 4194303, error=0, descriptor=0, detail=b"")
    write_memory(victim.pid, layout.words, made)
    row = trigger(padded, runtime=path).apply(victim.pid)
    assert (row.outcome, row.attached) == ("patched", True), row
    assert victim.ask("answer") == "5001"


@needs_root
def test_unknown_filter_that_came_after_rseq(padded, start, runtime, trigger, refused, monkeypatch):
    """In a container nobody can examine filters: the bootstrap asks the kernel before it starts a thread.

    Seen to fail (the victim aborts) without rseq_is_denied() in bootstrap.c.
    """
    monkeypatch.setattr(seccomp_check, "may_fetch", lambda: False)
    reason = refused(start(padded, "commands", RSEQ, ERRNO_EPERM, preload=False), seccomp="assume_errno")
    assert "denies the system call rseq" in reason

    attaching = trigger(padded, runtime=str(runtime / "libpulp.so"), seccomp="assume_errno")
    # Its filter has nothing to say about rseq.
    other = start(padded, "commands", GETITIMER, ERRNO_EPERM, preload=False)
    assert attaching.apply(other.pid).outcome == "patched"
    # The C library has registered nothing.
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0")
    without = start(padded, "commands", RSEQ, ERRNO_EPERM, preload=False)
    assert attaching.apply(without.pid).outcome == "patched"
    assert without.ask("answer") == "5001"
