# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``ulp explain``: each step, and that it never says another thing than what an apply does."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch

NO_PID = 2 ** 22 + 1


@pytest.fixture(name="explained")
def fixture_explained(ulp):
    """A function that gives (exit status, {step: (result, text)}, everything) of an explanation."""

    def explained(pid, *arguments):
        status, output, errors = ulp("explain", "-p", pid, *arguments, "--json")
        assert errors == []
        found = json.loads(output)
        assert status == (0 if found["possible"] else 1)
        shown = ulp("explain", "-p", pid, *arguments)
        assert (shown[0], shown[2]) == (status, [])
        assert shown[1].splitlines()[-1] == f"next: {found['next']}"
        assert len(shown[1].splitlines()) == len(found["steps"]) + 2
        return status, {step["name"]: (step["result"], step["text"]) for step in found["steps"]}, found

    return explained


def failed(steps):
    return [name for name, (result, _text) in steps.items() if result == "failed"]


def memory_of(pid):
    """What an explanation must leave as it is: code and data of the libraries, and the number of threads."""
    digest = hashlib.sha256()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if "libvictim" in line or "libpulp" in line:
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                memory.seek(start)
                digest.update(memory.read(end - start) if line.split()[1][0] == "r" else b"")
    return digest.hexdigest(), len(os.listdir(f"/proc/{pid}/task"))


def test_from_can_be_to_is_patched(layout, start, trigger, explained):
    """Guards exit 0, for what can be and for what is; and that asking leaves the process as it was."""
    victim = start(layout)
    before = memory_of(victim.pid)
    status, steps, found = explained(victim.pid)
    assert (status, failed(steps), found["outcome"]) == (0, [], None)
    assert str(layout.library) in steps["libraries"][1]
    build_id = read_livepatch(layout.livepatch).targets[0].build_id
    assert build_id in steps["libraries"][1]

    status, steps, found = explained(victim.pid, layout.livepatch)
    assert (status, failed(steps), found["outcome"]) == (0, [], "patched")
    assert build_id in steps["target"][1]
    assert steps["functions"][1] == "answer of libvictim.so can be replaced"
    assert steps["livepatches"][1] == "no livepatch is applied to it"
    assert steps["threads"][1].startswith("threads: 1, ")
    assert found["next"] == f"apply it: ulp trigger -p {victim.pid} {layout.livepatch}"
    assert memory_of(victim.pid) == before
    assert victim.ask("answer") == "20"

    trigger(layout).apply(victim.pid)
    status, steps, found = explained(victim.pid, layout.livepatch)
    assert (status, failed(steps), found["outcome"]) == (0, [], "already_patched")
    assert steps["livepatches"][1] == "applied to it: victim.ulp"


def test_threads_that_are_behind(padded, start, trigger, explained):
    victim = start(padded)
    victim.start_thread("inside", 0)
    trigger(padded).apply(victim.pid)
    victim.wait_for_threads(2)
    status, steps, found = explained(victim.pid, padded.livepatch)
    assert (status, found["outcome"]) == (0, "pending")
    assert "1 of them do not use the newest functions yet" in steps["threads"][1]


def test_why_not(layouts, start, explained, foreign_program, tmp_path):
    """Seen to fail, each by itself, with the step's question left out."""
    padded = layouts["padded"]
    status, steps, found = explained(NO_PID, padded.livepatch)
    assert (status, failed(steps)) == (1, ["process"])
    assert {result for name, (result, _text) in steps.items() if name not in ("process", "livepatch")} == {"skipped"}
    assert f"process {NO_PID} does not exist" in found["next"]

    bare = start(padded, preload=False)
    _status, steps, found = explained(bare.pid, padded.livepatch, "--no-attach")
    assert failed(steps) == ["runtime"]
    assert steps["target"][0] == "passed"  # what it runs is known all the same
    assert "attaching is not turned off" in found["next"]

    _status, steps, found = explained(foreign_program.pid)
    assert failed(steps) == ["runtime"]
    assert "statically linked" in found["next"]

    other = start(layouts["posted"])
    _status, steps, found = explained(other.pid, padded.livepatch)
    assert failed(steps) == ["target"]
    assert found["outcome"] == "already_fixed_on_disk"
    assert read_livepatch(padded.livepatch).targets[0].build_id in found["next"]

    victim = start(padded)
    hold, stop, retracted = tmp_path / "hold", tmp_path / "stop", tmp_path / "retracted"
    tmp_path.chmod(0o755)
    hold.write_text("name=app patch=victim.ulp\n", encoding="utf-8")
    retracted.write_text(f"{read_livepatch(padded.livepatch).patch_id} bad\n", encoding="utf-8")
    _status, steps, found = explained(victim.pid, padded.livepatch, "--hold-file", hold)
    assert failed(steps) == ["hold"]
    assert f"{hold} line 1" in found["next"]
    # It is about another livepatch, or may be.
    assert failed(explained(victim.pid, "--hold-file", hold)[1]) == []
    stop.touch()
    assert failed(explained(victim.pid, "--kill-switch", stop)[1]) == ["hold"]
    _status, steps, found = explained(victim.pid, padded.livepatch, "--retracted-file", retracted)
    assert failed(steps) == ["livepatch"]
    assert "is retracted" in found["next"]
    signers = tmp_path / "signers"
    signers.write_text("", encoding="utf-8")
    _status, steps, _found = explained(victim.pid, padded.livepatch, "--allowed-signers", signers)
    assert failed(steps) == ["livepatch"]

    victim.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, victim.pid, os.WSTOPPED | os.WNOWAIT)
    _status, steps, found = explained(victim.pid, padded.livepatch)
    assert failed(steps) == ["access"]
    assert "SIGCONT" in found["next"]
    victim.process.send_signal(signal.SIGCONT)


def test_changed_code(padded, start, explained, look):
    """A breakpoint on the function: an apply would refuse, and so says the explanation."""
    victim = start(padded)
    from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
    from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.patchable import patchable_functions
    from ansible_collections.libpulp.livepatch.plugins.module_utils.process.mapped import MappedFiles

    (function,) = (each for each in patchable_functions(ElfImage.open(padded.library)) if "answer" in each.names)
    (library,) = (each for each in MappedFiles().libraries(victim.pid, look(victim).mappings)
                  if each.name == "libvictim.so")
    with open(f"/proc/{victim.pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(library.base + function.address)
        memory.write(b"\xcc")
    status, steps, found = explained(victim.pid, padded.livepatch)
    assert (status, failed(steps), found["outcome"]) == (1, ["functions"], "failed")
    assert "answer" in found["next"]


def test_process_of_somebody_else_and_bad_files(padded, start, ulp, as_nobody, tmp_path):
    from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.explain import explain
    from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.policy import Policy
    from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options

    victim = start(padded)
    said = as_nobody(lambda: explain(victim.pid, None, Policy(), Options()).next)
    assert said.startswith(f"process {victim.pid} may not be examined by this user")
    status, output, errors = ulp("explain", "-p", victim.pid, tmp_path / "none.ulp")
    assert (status, output, len(errors)) == (1, "", 1)


def test_program_that_is_not_for_livepatching(explained):
    sleeper = subprocess.Popen(["/bin/sleep", "infinity"])
    try:
        status, steps, _found = explained(sleeper.pid, "--no-attach")
    finally:
        sleeper.kill()
        sleeper.wait()
    assert (status, failed(steps)) == (1, ["runtime"])
    # A livepatch for code as it is shipped may do.  Seen to fail with a message to rebuild everything.
    assert "nothing that it runs has padding" in steps["libraries"][1]


def test_runtime_can_be_loaded(padded, start, explained, runtime):
    """What an apply with the same options would do.  Seen to fail with the runtime asked for whatever they say."""
    victim = start(padded, preload=False)
    status, steps, found = explained(victim.pid, padded.livepatch, "--no-attach")
    assert (status, failed(steps)) == (1, ["runtime"])

    status, steps, found = explained(victim.pid, padded.livepatch, "--runtime", runtime / "libpulp.so")
    assert (status, failed(steps), found["outcome"]) == (0, [], "patched")
    assert "which would be loaded" in steps["runtime"][1]
    assert found["next"] == f"apply it: ulp trigger -p {victim.pid} {padded.livepatch}"
    assert "libpulp" not in Path(f"/proc/{victim.pid}/maps").read_text()

    status, steps, found = explained(victim.pid, padded.livepatch, "--runtime", padded.library)
    assert (status, failed(steps)) == (1, ["dry run"])
    assert str(padded.library) in found["next"]
    assert victim.ask("answer") == "20"
