# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed livepatches, held processes and the ledger, through the command and the modules, on running processes."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import snapshot
from harness.command import Ulp
from harness.livepatch import PENDING
from harness.modules import module
from harness.polling import DEADLINE

SIGNER = "security@example.com"


@pytest.fixture
def ulp_file(ulp_file, tmp_path):
    """A copy, which the test may sign and spoil."""
    tmp_path.chmod(0o755)
    copy = tmp_path / "fix.ulp"
    shutil.copyfile(ulp_file, copy)
    copy.chmod(0o755)
    return copy


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@pytest.fixture
def allowed(key):
    path = key.with_name("allowed_signers")
    path.write_text(f"{SIGNER} {key.with_name('key.pub').read_text()}")
    return path


def test_sign_and_verify(ulp_file, key, allowed, ulp, tmp_path):
    """Guards who and what is believed, and that what is signed already is left alone.

    Seen to fail with each of these taken out of livepatch/signature.py: the look at the fingerprint of a signature that
    is there (signed again), the look whether there is one, what ssh-keygen says of it (anybody may sign), the name
    asked for (anybody in the file may), and the look whether a signature fits at all (another reason); and with a sign
    that takes any file.
    """
    refusal = ulp.refuse("verify", ulp_file, "--allowed-signers", allowed, naming=f"{ulp_file} is not signed")
    assert refusal.output == ""
    first = ulp.succeed("sign", ulp_file, "-k", key, "--json").json()
    again = ulp.succeed("sign", ulp_file, "-k", key, "--json").json()
    assert (first["changed"], again["changed"], first["path"]) == (True, False, f"{ulp_file}.sig")
    assert SIGNER in ulp.succeed("verify", ulp_file, "--allowed-signers", allowed).output
    ulp.succeed("verify", ulp_file, "--allowed-signers", allowed, "--identity", SIGNER)
    ulp.refuse("verify", ulp_file, "--allowed-signers", allowed, "--identity", "a@b", naming="a@b")
    ulp.refuse("verify", ulp_file, "--allowed-signers", tmp_path / "nowhere", naming="nowhere")
    ulp.refuse("verify", tmp_path / "nothing.ulp", "--allowed-signers", allowed, naming="nothing.ulp")
    ulp.refuse("sign", key, "-k", key, naming=key)
    assert ulp.run("verify", ulp_file).status == 2
    assert ulp.run("sign", ulp_file).status == 2
    with ulp_file.open("ab") as stream:
        stream.write(b"\0")
    answer = ulp.refuse("verify", ulp_file, "--allowed-signers", allowed, "--json", naming="not what was signed")
    assert answer.json()["valid"] is False
    assert answer.json()["reason"] in answer.errors


@pytest.mark.parametrize("passphrase, status", [("secret", 0), ("wrong", 1)])
def test_key_with_a_passphrase(passphrase, status, ulp_file, tmp_path, ulp):
    """The user is asked for it: seen to fail with ssh-keygen in a session of its own, without a terminal."""
    key = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", key], check=True)
    words = [*ulp.command, "sign", str(ulp_file), "-k", str(key)]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(words[0], words)
    output = b""
    try:
        while b"passphrase" not in output:
            assert select.select([terminal], [], [], DEADLINE)[0], f"nobody is asked: {output}"
            output += os.read(terminal, 1024)
        os.write(terminal, passphrase.encode() + b"\n")
        ended = os.waitpid(pid, 0)[1]
    finally:
        os.close(terminal)
    assert os.WEXITSTATUS(ended) == status, output
    assert Path(f"{ulp_file}.sig").exists() == (status == 0)


def test_key_with_a_passphrase_and_no_terminal(ulp_file, tmp_path):
    """Guards that the livepatch's bytes are not taken for it: without a terminal, ssh-keygen reads it from its input.

    Seen to fail (signed) with the bytes for its input, be they what it signs or not.
    """
    key = tmp_path / "locked"
    beginning = ulp_file.read_bytes().partition(b"\0")[0]
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", beginning, "-f", key], check=True)
    Ulp(wrap=("setsid", "--wait")).refuse("sign", ulp_file, "-k", key, naming="passphrase")
    assert not Path(f"{ulp_file}.sig").exists()


@pytest.mark.parametrize("verb", [("dispatch", "patch"), ("trigger", "-p")])
def test_command_takes_only_what_is_signed(verb, build, ulp_file, key, allowed, start, ulp):
    """Guards every way past the verification: each must be refused, and the process stay as it was.

    Seen to fail (patched) with each of these taken out of Guard: the verification, the refusal of an identity without a
    file of signers, and the look at who could change the livepatch; and with either option not passed on by the
    command.
    """
    victim = start(build)
    before = snapshot.of_process(victim)
    words = [*verb, ulp_file, victim.pid] if verb[0] == "dispatch" else [*verb, victim.pid, ulp_file]
    ulp.refuse(*words, "--allowed-signers", allowed, naming="is not signed")
    ulp.refuse(*words, "--identity", SIGNER, naming="allowed-signers")
    ulp.succeed("sign", ulp_file, "-k", key)
    ulp.refuse(*words, "--allowed-signers", allowed, "--identity", "other", naming="other")
    ulp_file.chmod(0o777)
    ulp.refuse(*words, "--allowed-signers", allowed, naming="other users could change it")
    ulp_file.chmod(0o755)
    assert snapshot.of_process(victim) == before
    ulp.succeed(*words, "--allowed-signers", allowed)
    assert victim.number("version") == 2
    ulp.succeed("trigger", "-p", victim.pid, ulp_file, "--revert")
    assert victim.number("version") == 1


def test_command_leaves_alone_what_is_held(build, ulp_file, start, ulp, tmp_path):
    """Guards kill switch, hold file, retracted livepatches, exclude list and ledger; a revert heeds neither the first
    nor the third.

    Seen to fail (patched) with each of the four unheeded in Guard, with exit 0 when the command leaves ``unmet`` out,
    with the kill switch or the retraction heeded by a revert, and with the ledger never written, or written of
    what was excluded.
    """
    victim = start(build)
    before = snapshot.of_process(victim)
    options = []
    for name in ("kill-switch", "hold-file", "retracted-file", "ledger"):
        options += [f"--{name}", tmp_path / name]
    patch_id = ulp.succeed("dump", "--json", ulp_file).json()["patch_id"]
    for name, text in (("kill-switch", ""), ("hold-file", f"name={victim.name[:3]}*\n"),
                       ("retracted-file", f"{patch_id} breaks it\n")):
        file = tmp_path / name
        file.write_text(text)
        # It was asked for, and is not patched: exit 1.
        refusal = ulp.refuse("dispatch", "patch", ulp_file, victim.pid, "--json", *options, naming=file)
        (row,) = refusal.json()
        assert row["outcome"] == "excluded"
        assert str(file) in row["reason"]
        (row,) = ulp.succeed("dispatch", "patch", ulp_file, "--name", victim.name, "--json", *options).json()
        assert row["outcome"] == "excluded"
        ulp.refuse("trigger", "-p", victim.pid, ulp_file, *options, naming=file)
        file.unlink()
    (row,) = ulp.refuse("dispatch", "patch", ulp_file, victim.pid, "--json", "--exclude", f"exe=*/{victim.name}",
                        *options, naming="the exclude list").json()
    assert row["outcome"] == "excluded"
    assert snapshot.of_process(victim) == before
    assert not (tmp_path / "ledger").exists()

    ulp.succeed("dispatch", "patch", ulp_file, victim.pid, *options)
    assert victim.number("version") == 2
    for name, text in (("kill-switch", ""), ("retracted-file", f"{patch_id}\n")):
        (tmp_path / name).write_text(text)
    assert ulp.run("check", "-p", victim.pid, ulp_file).status in (0, PENDING)
    ulp.succeed("dispatch", "revert", ulp_file, victim.pid, *options)
    assert victim.number("version") == 1
    entries = [json.loads(line) for line in (tmp_path / "ledger").read_text().splitlines()]
    assert [(entry["pid"], entry["operation"], entry["patch_id"]) for entry in entries] == [
        (victim.pid, "patch", patch_id), (victim.pid, "revert", patch_id)]


def test_modules(build, ulp_file, key, allowed, start, ulp, tmp_path):
    """Guards that the modules pass on every option of the policy, and return what came of it.

    Seen to fail with each left out of ulp_dispatch: allowed signers, identity, kill switch, hold file, retracted
    livepatches, exclude list, ledger; and with ``signer``, ``stopped`` or ``retracted`` not returned as they are.
    """
    victim = start(build)
    arguments = {"patch": ulp_file, "pids": [victim.pid], "allowed_signers": allowed, "signer_identity": SIGNER,
                 "kill_switch": tmp_path / "stop", "hold_file": tmp_path / "hold",
                 "retracted_file": tmp_path / "retracted", "ledger": tmp_path / "ledger.jsonl"}
    assert "is not signed" in module("ulp_dispatch", status=2, **arguments)["msg"]
    ulp.succeed("sign", ulp_file, "-k", key)
    assert "allowed-signers" in module("ulp_dispatch", status=2, **{**arguments, "allowed_signers": ""})["msg"]
    assert "other" in module("ulp_dispatch", status=2, **{**arguments, "signer_identity": "other"})["msg"]
    for exclude in ([victim.name], [f"exe=*/{victim.name}"], [{"name": victim.name, "user": str(os.geteuid())}]):
        result = module("ulp_dispatch", **{**arguments, "exclude": exclude})
        assert (result["changed"], result["outcomes"]) == (False, {"excluded": 1})
    assert "KEY=WILDCARD" in module("ulp_dispatch", status=2, **{**arguments, "exclude": [{"host": "a"}]})["msg"]
    patch_id = ulp.succeed("dump", "--json", ulp_file).json()["patch_id"]
    for option, text in (("hold_file", f"name={victim.name}\n"), ("retracted_file", f"{patch_id}\n")):
        arguments[option].write_text(text)
        result = module("ulp_dispatch", **arguments)
        assert (result["changed"], result["outcomes"]) == (False, {"excluded": 1})
        assert str(arguments[option]) in result["processes"][0]["reason"]
        assert result["retracted"] is (option == "retracted_file")
    arguments["hold_file"].unlink()
    (tmp_path / "stop").touch()
    result = module("ulp_dispatch", **arguments)
    assert (result["changed"], result["outcomes"], result["stopped"]) == (False, {"excluded": 1}, True)
    assert victim.number("version") == 1
    result = module("ulp_dispatch", **{**arguments, "kill_switch": None, "hold_file": "", "retracted_file": ""})
    assert (result["changed"], result["signer"], result["stopped"]) == (True, SIGNER, False)
    assert victim.number("version") == 2
    assert module("ulp_dispatch", **{**arguments, "state": "absent"})["changed"] is True
    assert victim.number("version") == 1
    ledger = module("ulp_facts", ledger=tmp_path / "ledger.jsonl")["ansible_facts"]["ulp"]["ledger"]
    assert [(entry["pid"], entry["operation"]) for entry in ledger] == [(victim.pid, "patch"), (victim.pid, "revert")]
    facts = module("ulp_facts", ledger=tmp_path / "ledger.jsonl", ledger_entries=1)["ansible_facts"]
    assert facts["ulp"]["ledger"] == ledger[1:]
