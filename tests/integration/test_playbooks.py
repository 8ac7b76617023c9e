# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks as an operator runs them, by either name, on a running process of this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from harness.blocked import version_patch
from harness.command import Ulp
from harness.modules import ANSIBLE_PLAYBOOK
from harness.paths import BUILD, CHECKOUT, RUNTIME
from harness.root import host_root
from harness.variant import PADDING_ONLY, POST, STOCK, Variant

PAIRS = {"make": "make_new", "use": "use_new"}
# The longest needs a minute when the machine has nothing else to do.
pytestmark = pytest.mark.timeout(1200)


class Played(NamedTuple):
    """How a run of ansible-playbook ended."""

    status: int
    changed: int
    output: str


def play(playbook: str | Path, *options: str, **variables: object) -> Played:
    """Run a playbook on this machine, without privileges that the test does not have."""
    # In a user namespace where we are root, files can be given to root by anybody.
    wrap = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
    words = [*wrap, ANSIBLE_PLAYBOOK, "-i", "localhost,", "-c", "local", playbook, *options]
    variables["ansible_python_interpreter"] = sys.executable
    variables.setdefault("ulp_livepatch_allowed_signers", "")
    words += ["-e", json.dumps(variables, default=str)]
    done = subprocess.run(
        [str(word) for word in words], cwd=CHECKOUT, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )
    recap = re.search(r"^localhost\s.*changed=(\d+)", done.stdout, re.MULTILINE)
    return Played(done.returncode, int(recap[1]) if recap else 0, done.stdout)


def succeed(playbook: str | Path, *options: str, **variables: object) -> Played:
    played = play(playbook, *options, **variables)
    assert played.status == 0, played.output
    assert "[WARNING]" not in played.output, played.output
    return played


@pytest.fixture
def victim_and_variables(target, start, tmp_path):
    """A victim, and the variables with which the playbooks deal with it alone."""
    build = target("contract", Variant(POST))
    victim = start(build)
    variables = {
        "livepatch": build.patch("layout", PAIRS),
        "livepatch_become": "false",
        "ulp_livepatch_pids": [victim.pid],
        "ulp_livepatch_directory": tmp_path / "var" / "livepatches",
        "ulp_livepatch_report_dir": tmp_path / "report",
    }
    return victim, variables


def row(output: str, pid: int) -> str:
    """The last line about a process: the plan comes before the table of a stage, which names the host first."""
    found = re.findall(rf'"((?:localhost +)?{pid} .*)"', output)
    assert found, output
    return found[-1]


def test_apply_status_revert(victim_and_variables):
    victim, variables = victim_and_variables
    assert victim.number("call") == 1

    played = succeed("libpulp.livepatch.apply_livepatch", "--check", **variables)
    assert " would be patched" in row(played.output, victim.pid)
    assert victim.number("call") == 1
    assert not variables["ulp_livepatch_directory"].exists()

    played = succeed("libpulp.livepatch.apply_livepatch", **variables)
    assert played.changed > 0
    assert " patched " in row(played.output, victim.pid)
    assert victim.number("call") == 2

    played = succeed(CHECKOUT / "playbooks" / "apply-livepatch.yml", **variables)
    assert played.changed == 0
    assert "already_patched" in row(played.output, victim.pid)

    for name in ("libpulp.livepatch.livepatch_status", CHECKOUT / "playbooks" / "livepatch-status.yml"):
        played = succeed(name, livepatch_become="false")
        assert played.changed == 0
        assert re.search(r" patched .*layout.*applied.*libcontract", row(played.output, victim.pid))
        # This very process was started without the runtime, which could be loaded, and no livepatch is applied to it.
        assert f'"{os.getpid()} ' not in played.output
        played = succeed(name, livepatch_become="false", livepatch_show_all=True)
        assert "by attaching" in row(played.output, os.getpid())

    played = succeed(CHECKOUT / "playbooks" / "revert-livepatch.yml", **variables)
    assert played.changed == 1
    assert " reverted " in row(played.output, victim.pid)
    assert victim.number("call") == 1

    played = succeed("libpulp.livepatch.revert_livepatch", **variables)
    assert played.changed == 0
    played = succeed("libpulp.livepatch.livepatch_status", livepatch_become="false")
    assert " reverted " in row(played.output, victim.pid)


def test_a_directory_of_livepatches(target, start, tmp_path):
    """Guards that a rollout takes them all, with the signature of each, and gives each process its own, in every mode.

    The last run does harm, and is taken back: from each process what that run gave it, and nothing else. Seen to fail
    with ``is not a file on the controller``.
    """
    builds = [target("blocked", Variant(mode)) for mode in (POST, PADDING_ONLY, STOCK)]
    victims = [start(build) for build in builds]
    directory = tmp_path / "fixes"
    directory.mkdir()
    key, signers = tmp_path / "key", tmp_path / "signers"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    signers.write_text(f"security@example.com {key.with_suffix('.pub').read_text()}")
    for build in builds:
        livepatch = directory / f"{build.variant.mode}.ulp"
        shutil.copy(version_patch(build), livepatch)
        Ulp().succeed("sign", livepatch, "-k", key)
    variables = {
        "livepatch": directory, "livepatch_become": "false", "ulp_livepatch_allowed_signers": signers,
        "ulp_livepatch_pids": [victim.pid for victim in victims], "ulp_livepatch_directory": tmp_path / "livepatches",
        "ulp_livepatch_report_dir": tmp_path / "report",
    }

    def report():
        return json.loads((tmp_path / "report" / "report.json").read_text())

    unsigned = directory / f"{STOCK}.ulp.sig"
    kept = unsigned.read_bytes()
    unsigned.unlink()
    played = play("libpulp.livepatch.apply_livepatch", **variables)
    assert played.status != 0 and "stock-" in played.output
    assert [victim.number("version") for victim in victims] == [1, 1, 1]
    unsigned.write_bytes(kept)

    played = succeed("libpulp.livepatch.apply_livepatch", **variables)
    for victim, build in zip(victims, builds):
        assert re.search(rf"{victim.pid} .* would be patched +livepatch {build.variant.mode}-", played.output)
    assert [victim.number("version") for victim in victims] == [2, 2, 2]
    for victim, build in zip(victims, builds):
        assert re.search(rf" patched .* livepatch {build.variant.mode}-", row(played.output, victim.pid))
    document = report()
    assert [its["file"] for its in document["livepatches"]] == ["padding.ulp", "post.ulp", "stock.ulp"]
    given = {its["file"]: its["patch_id"] for its in document["livepatches"]}
    assert {its["pid"]: its["patch_id"] for its in document["hosts"][0]["processes"]} == {
        victim.pid: given[f"{build.variant.mode}.ulp"] for victim, build in zip(victims, builds)}
    assert document["totals"]["processes"] == {"patched": 3}

    # A list does as well. What it leaves out stays.
    two = [directory / "post.ulp", directory / "padding.ulp"]
    fewer = {**variables, "livepatch": two, "ulp_livepatch_pids": [victim.pid for victim in victims[:2]]}
    succeed("libpulp.livepatch.revert_livepatch", **fewer)
    assert [victim.number("version") for victim in victims] == [1, 1, 2]

    sick = tmp_path / "sick"
    gate = {"command": ["/bin/sh", "-c", f"[ -e {sick} ] && exit 1; touch {sick}"], "name": "once"}
    played = play("libpulp.livepatch.apply_livepatch", **variables, ulp_livepatch_gates=[gate],
                  ulp_livepatch_gate_retries=0)
    assert played.status != 0, played.output
    assert [victim.number("version") for victim in victims] == [1, 1, 2], played.output
    host = report()["hosts"][0]
    assert host["status"] == "reverted", host
    assert sorted(its["outcome"] for its in host["processes"]) == ["already_patched", "reverted", "reverted"]
    Ulp().succeed("dispatch", "revert", directory, *variables["ulp_livepatch_pids"])
    assert [victim.number("version") for victim in victims] == [1, 1, 1]


@pytest.mark.parametrize("name", ["missing", "directory", "text"])
def test_bad_livepatch_is_one_sentence(name, tmp_path):
    path = tmp_path / "fix.ulp"
    if name == "directory":
        path.mkdir()
    elif name == "text":
        path.write_text("not a ulp_file\n")
    played = play(
        "libpulp.livepatch.apply_livepatch", livepatch=path, livepatch_become="false",
        ulp_livepatch_directory=tmp_path / "livepatches", ulp_livepatch_report_dir=tmp_path / "report",
    )
    assert played.status != 0
    assert "Traceback" not in played.output
    assert str(path) in played.output or "fix-" in played.output


def test_livepatch_must_be_named():
    played = play("libpulp.livepatch.apply_livepatch", livepatch_become="false")
    assert played.status != 0
    assert "-e livepatch=FILE.ulp" in played.output


def test_runtime_role_installs_a_given_build_and_removes_it(tmp_path):
    """On this machine, but elsewhere; the whole of it, with systemd and packages, is what `make check-roles` tests."""
    place = tmp_path / "lib"
    variables = {
        "ulp_runtime_build": BUILD, "ulp_runtime_directory": place, "ulp_runtime_command": tmp_path / "ulp",
        "ulp_runtime_build_directory": tmp_path / "build", "ulp_runtime_install_packages": "false",
        "ulp_runtime_share_directory": tmp_path / "share",
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text("[{hosts: all, gather_facts: false, roles: [libpulp.livepatch.ulp_runtime]}]\n")
    assert succeed(playbook, **variables).changed == 6
    assert succeed(playbook, **variables).changed == 0
    for name in ("libpulp.so", "trm.o"):
        assert (place / name).read_bytes() == (BUILD / name).read_bytes()
    assert "processes" in Ulp(command=(sys.executable, str(tmp_path / "ulp"))).succeed("list", "--json").json()
    # Another file of that name, not other bytes in the file that processes have mapped.
    inode = (place / "libpulp.so").stat().st_ino
    (place / "libpulp.so").write_bytes(b"damaged")
    assert succeed(playbook, **variables).changed == 1
    assert (place / "libpulp.so").stat().st_ino != inode
    # What is not the role's stays, and so does its directory.
    (place / "other-library.so").write_bytes(b"not ours")
    # The runtime, the manual and completions, and the directories of those.
    assert succeed(playbook, ulp_runtime_state="absent", **variables).changed == 3
    assert [entry.name for entry in place.iterdir()] == ["other-library.so"]
    (place / "other-library.so").unlink()
    assert succeed(playbook, ulp_runtime_state="absent", **variables).changed == 1
    assert succeed(playbook, ulp_runtime_state="absent", **variables).changed == 0
    assert not place.exists()


def test_runtime_role_builds_from_the_collection_once(tmp_path):
    variables = {
        "ulp_runtime_directory": tmp_path / "lib", "ulp_runtime_command": tmp_path / "ulp",
        "ulp_runtime_build_directory": tmp_path / "var" / "build", "ulp_runtime_install_packages": "false",
        "ulp_runtime_share_directory": tmp_path / "share",
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text("[{hosts: all, gather_facts: false, roles: [libpulp.livepatch.ulp_runtime]}]\n")
    assert succeed(playbook, **variables).changed > 0
    built = (tmp_path / "var" / "build" / "out" / "libpulp.so").stat().st_mtime_ns
    assert succeed(playbook, **variables).changed == 0
    assert (tmp_path / "var" / "build" / "out" / "libpulp.so").stat().st_mtime_ns == built
    assert (tmp_path / "var" / "build").stat().st_mode & 0o777 == 0o700


FIX_SOURCE = "static int state = 3;\nint f(int x) { return x + state++; }\n"


@pytest.fixture(name="build_playbook")
def fixture_build_playbook(tmp_path, monkeypatch):
    """A function that runs build_livepatch on a small tree with some text replaced by the diff."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    tree = tmp_path / "source"
    tree.mkdir()
    (tree / "f.c").write_text(FIX_SOURCE)

    def run(old, new, *options, **variables):
        (tmp_path / "new.c").write_text(FIX_SOURCE.replace(old, new))
        diff = subprocess.run(["diff", "-u", "--label", "a/f.c", "--label", "b/f.c", tree / "f.c", tmp_path / "new.c"],
                              stdout=subprocess.PIPE, check=False).stdout
        (tmp_path / "fix.patch").write_bytes(diff)
        build = {
            "source": tree, "diffs": [tmp_path / "fix.patch"], "runtime": RUNTIME, "as_root": True,
            "build": "gcc -O2 -fPIC -fpatchable-function-entry=16,14 -shared -Wl,--build-id -o libf.so f.c",
        }
        return play("libpulp.livepatch.build_livepatch", *options, **{"livepatch_build": build, **variables})

    return run


def test_a_livepatch_is_built_and_fetched(build_playbook, tmp_path):
    """With its page; once.  What is refused says so once, and what was fetched before is not taken for it.

    Seen to fail with a refusal beside the earlier livepatch, of which nothing was said.
    """
    fetched = tmp_path / "livepatches"
    fix = ("return x", "return 2 * x")
    checked = build_playbook(*fix, "--check", livepatch_build_dest=fetched)
    assert checked.status == 0, checked.output
    assert not fetched.exists()
    built = build_playbook(*fix, livepatch_build_dest=fetched)
    assert (built.status, built.changed > 0) == (0, True), built.output
    livepatch = fetched / "libf.so.ulp"
    dumped = Ulp().succeed("dump", "--json", livepatch).json()
    assert [pair["old"] for target in dumped["targets"] for pair in target["functions"]] == ["f"]
    page = (fetched / "libf.so.html").read_text()
    assert dumped["patch_id"] in page
    assert "<h2>Functions replaced</h2>" in page
    before = livepatch.read_bytes()
    again = build_playbook(*fix, livepatch_build_dest=fetched)
    assert (again.status, again.changed) == (0, 0), again.output

    refused = build_playbook("state = 3", "state = 4", livepatch_build_dest=fetched)
    assert refused.status != 0
    assert len(re.findall(r"^(?:fatal|failed): ", refused.output, re.MULTILINE)) == 1, refused.output
    assert "state of f.c is writable, and its initial value changes" in refused.output
    assert f"{livepatch} is of an earlier build, and not what was asked for now" in refused.output
    assert livepatch.read_bytes() == before


def test_what_cannot_be_built_is_one_sentence(build_playbook, tmp_path):
    broken = build_playbook("return x", "return no_such_name + x", livepatch_build_dest=tmp_path / "livepatches")
    twice = play("libpulp.livepatch.build_livepatch", livepatch_build={"diffs": ["/a/fix.patch", "/b/fix.patch"]})
    for played, why in ((broken, "no_such_name"), (twice, "names of their own")):
        assert played.status != 0
        assert len(re.findall(r"^(?:fatal|failed): ", played.output, re.MULTILINE)) == 1, played.output
        assert why in played.output
        assert "None" not in played.output


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who may mount")
def test_several_roots(build_playbook, tmp_path):
    """Guards that one build host fetches the livepatches of all roots, although another root fails.

    Seen to fail, with one livepatch of the build host's own, where the playbook did not pass roots on.
    """
    fetched = tmp_path / "livepatches"
    order = {
        "source": tmp_path / "source", "diffs": [tmp_path / "fix.patch"], "proof": False, "as_root": True,
        "build": "cc -O2 -fPIC -fpatchable-function-entry=16,14 -shared -Wl,--build-id -o libf.so f.c"}
    with host_root(tmp_path / "one", "gcc") as one, host_root(tmp_path / "two", "clang") as two:
        order["roots"] = [one, two, tmp_path / "absent"]
        played = build_playbook("return x", "return 2 * x", livepatch_build=order, livepatch_build_dest=fetched)
    assert played.status != 0
    assert f"in the root {tmp_path}/absent: it is no directory" in played.output
    files = sorted(fetched.iterdir())
    assert [file.suffix for file in files] == [".html", ".ulp"] * 2
    for file in files[1::2]:
        build_id = Ulp().succeed("dump", "--json", file).json()["targets"][0]["build_id"]
        assert file.name == f"libf.so-{build_id[:8]}.ulp"
    assert all(f"the root {tmp_path}/" in page.read_text() for page in files[::2])


def test_several_build_hosts(build_playbook, tmp_path):
    """Guards that each makes the livepatch for its build, told apart by name, and that one refusal stops no other.

    Seen to fail with one file, which the last host had overwritten.
    """
    flags = "{{ {'one': '-O2', 'two': '-O1'}[inventory_hostname] | default('-O2 -flto') }}"
    fetched = tmp_path / "livepatches"
    order = {
        "source": tmp_path / "source", "diffs": [tmp_path / "fix.patch"], "runtime": RUNTIME, "as_root": True,
        "work": f"{tmp_path}/work-{{{{ inventory_hostname }}}}",
        "build": f"gcc {flags} -falign-functions=16 -fPIC -fpatchable-function-entry=16,14 -shared -Wl,--build-id"
                 " -o libf.so f.c"}
    built = build_playbook("return x", "return 2 * x", "-i", "one,two,", livepatch_build_host="one:two:localhost",
                           livepatch_build_dest=fetched, livepatch_build=order)
    assert built.status != 0 and "-fno-lto" in built.output, built.output
    livepatches = sorted(fetched.glob("*.ulp"))
    assert len(livepatches) == 2, built.output
    for livepatch in livepatches:
        (target,) = Ulp().succeed("dump", "--json", livepatch).json()["targets"]
        assert livepatch.name == f"libf.so-{target['build_id'][:8]}.ulp"
        assert livepatch.with_suffix(".html").exists()
