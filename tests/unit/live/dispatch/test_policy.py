# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's policy keeps away from real processes, and what it lets through."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch import dispatch as dispatching
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch import policy as policy_module
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.dispatch import dispatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.ledger import read_last
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.policy import Guard, Policy
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.result import CHECK, PATCH, REVERT
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.rules import parse_exclude
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.select import Selection
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import BadSignature, UlpError, Untrusted
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import read_livepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.signature import sign
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.borrowing import borrow
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import Options

OLD, NEW = "20", "5001"


@pytest.fixture(name="livepatch")
def fixture_livepatch(padded, tmp_path):
    """A livepatch of this test's own."""
    tmp_path.chmod(0o755)
    path = tmp_path / "fix.ulp"
    shutil.copyfile(padded.livepatch, path)
    path.chmod(0o755)
    return path


@pytest.fixture(name="victim")
def fixture_victim(padded, start):
    return start(padded)


@pytest.fixture(name="run")
def fixture_run(livepatch, victim):
    """A function that dispatches to the victim and returns (row, Dispatched)."""

    def run(operation, policy=None, **options):
        result = dispatch(livepatch, operation, Selection((victim.pid,)), Options(**options), policy)
        (row,) = result.rows
        return row, result

    return run


def test_kill_switch(run, victim, tmp_path):
    policy = Policy(kill_switch=str(tmp_path / "stop"))
    assert run(PATCH, policy, check=True)[0].outcome == "patched"
    (tmp_path / "stop").touch()
    for check in (True, False):
        row, result = run(PATCH, policy, check=check)
        assert (row.outcome, result.stopped, result.changed) == ("excluded", True, False)
        assert str(tmp_path / "stop") in row.reason
        assert result.failures == []
        assert result.unmet == [row]
    assert victim.ask("answer") == OLD
    assert run(CHECK, policy)[0].outcome == "failed"
    (tmp_path / "stop").unlink()
    row, result = run(PATCH, policy)
    assert (row.outcome, result.stopped) == ("patched", False)
    (tmp_path / "stop").touch()
    assert run(CHECK, policy)[0].outcome == "already_patched"
    row, result = run(REVERT, policy)
    assert (row.outcome, result.stopped) == ("reverted", False)
    assert victim.ask("answer") == OLD


def test_kill_switch_that_others_could_remove(run, victim, tmp_path):
    """Guards against "there is none": seen to patch without require_lasting().  One that is there counts."""
    directory = tmp_path / "etc"
    directory.mkdir()
    directory.chmod(0o777)
    policy = Policy(kill_switch=str(directory / "stop"))
    with pytest.raises(Untrusted, match=f"directory of the kill switch {directory} is refused"):
        run(PATCH, policy)
    assert victim.ask("answer") == OLD
    (directory / "stop").touch()
    if os.geteuid() == 0:
        os.chown(directory / "stop", 65534, 65534)
    row, result = run(PATCH, policy)
    assert (row.outcome, result.stopped) == ("excluded", True)
    (directory / "stop").unlink()
    directory.chmod(0o755)
    assert run(PATCH, policy)[0].outcome == "patched"
    # A kill switch never keeps a livepatch in place.
    directory.chmod(0o777)
    assert run(REVERT, policy)[0].outcome == "reverted"


def test_kill_switch_that_is_thrown_meanwhile(padded, start, livepatch, tmp_path, monkeypatch):
    """Guards "at once": what was not begun is not begun."""
    victims = [start(padded) for _index in range(3)]
    switch = tmp_path / "stop"
    confirm = Guard.confirm
    looked = []

    def throw(guard):
        confirm(guard)
        looked.append(guard)
        # The first look is at the file as it is read, the second one before the first process gets its request.
        if len(looked) > 2:
            switch.touch()

    monkeypatch.setattr(Guard, "confirm", throw)
    result = dispatch(
        livepatch, PATCH, Selection(tuple(victim.pid for victim in victims)), Options(),
        Policy(kill_switch=str(switch)),
    )
    assert sorted(row.outcome for row in result.rows) == ["excluded", "excluded", "patched"]
    assert result.stopped
    assert sorted(victim.ask("answer") for victim in victims) == [OLD, OLD, NEW]


def test_hold_wins_over_being_asked_for(run, victim, tmp_path):
    hold = tmp_path / "hold"
    policy = Policy(hold_file=str(hold))
    hold.write_text("name=other\nname=app user=no-such-user\n", encoding="utf-8")
    assert run(PATCH, policy)[0].outcome == "patched"
    for text in ("name=ap*", f"exe=*/app user={os.geteuid()}", "patch=fix.ulp"):
        hold.write_text(f"# why\n{text}\n", encoding="utf-8")
        for operation in (PATCH, REVERT):
            row, _result = run(operation, policy)
            assert row.outcome == "excluded"
            assert f"{hold} line 2 ({text})" in row.reason
        assert run(CHECK, policy)[0].outcome == "already_patched"
    assert victim.ask("answer") == NEW
    hold.write_text("nonsense\n", encoding="utf-8")
    for operation in (PATCH, REVERT):
        with pytest.raises(UlpError, match=f"{hold} line 1"):
            run(operation, policy)
    assert run(CHECK, policy)[0].outcome == "already_patched"
    hold.unlink()
    assert run(REVERT, policy)[0].outcome == "reverted"


def test_hold_is_about_some_processes_only(padded, start, livepatch, tmp_path):
    shutil.copy(padded.app, tmp_path / "kept")
    held, free = start(padded._replace(app=tmp_path / "kept")), start(padded)
    policy = Policy(exclude=parse_exclude([{"exe": f"{tmp_path}/*"}]))
    rows = {row.pid: row for row in dispatch(livepatch, PATCH, Selection(), Options(), policy).rows}
    assert (rows[held.pid].outcome, rows[free.pid].outcome) == ("excluded", "patched")
    assert "the exclude list" in rows[held.pid].reason
    assert (held.ask("answer"), free.ask("answer")) == (OLD, NEW)


def test_retracted(run, victim, livepatch, tmp_path):
    retracted = tmp_path / "retracted"
    policy = Policy(retracted_file=str(retracted))
    retracted.write_text("0" * 64 + " another\n", encoding="utf-8")
    assert run(PATCH, policy)[0].outcome == "patched"
    assert run(REVERT, policy)[0].outcome == "reverted"
    patch_id = read_livepatch(livepatch).patch_id
    retracted.write_text(f"{patch_id} breaks logins\n", encoding="utf-8")
    row, result = run(PATCH, policy)
    assert (row.outcome, result.retracted) == ("excluded", True)
    assert f"{retracted} line 1" in row.reason
    assert victim.ask("answer") == OLD
    assert run(PATCH)[0].outcome == "patched"
    row, result = run(REVERT, policy)
    assert (row.outcome, result.retracted) == ("reverted", False)
    retracted.write_text("nonsense\n", encoding="utf-8")
    with pytest.raises(UlpError, match=f"{retracted} line 1"):
        run(PATCH, policy)
    assert run(CHECK, policy)[0].outcome == "reverted"


# ------------------------------------------------------- what is accepted


@pytest.fixture(name="signed")
def fixture_signed(livepatch, tmp_path):
    """(Policy that wants a signature of security@example.com, key that makes it)."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    allowed = tmp_path / "allowed_signers"
    public = (tmp_path / "key.pub").read_text(encoding="ascii")
    allowed.write_text(f"security@example.com {public}", encoding="ascii")
    return Policy(allowed_signers=str(allowed)), key


def test_unsigned_is_refused(run, victim, livepatch, signed):
    policy, key = signed
    for check in (True, False):
        with pytest.raises(BadSignature, match="is not signed"):
            run(PATCH, policy, check=check)
    sign(livepatch, key)
    with pytest.raises(BadSignature, match="other@example.com"):
        run(PATCH, policy._replace(identity="other@example.com"))
    assert victim.ask("answer") == OLD
    row, result = run(PATCH, policy)
    assert (row.outcome, result.signer) == ("patched", "security@example.com")
    # Nothing of the file is loaded to revert, so nobody is kept from it.
    os.unlink(f"{livepatch}.sig")
    assert run(REVERT, policy)[0].outcome == "reverted"


def test_changed_after_signing_is_refused(run, victim, livepatch, signed, padded):
    policy, key = signed
    sign(livepatch, key)
    # Another sound livepatch, with the signature of the first.
    from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import parse_description
    from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack

    pack(parse_description(padded.directory / "victim.dsc"), livepatch, labels={"another": True})
    with pytest.raises(BadSignature, match="is not what was signed"):
        run(PATCH, policy)
    assert victim.ask("answer") == OLD


@pytest.mark.parametrize("policy", [Policy(allowed_signers=""), Policy(identity="a@b"), Policy(identity="")])
def test_a_variable_left_empty_does_not_turn_verification_off(run, policy):
    with pytest.raises(UlpError, match="no allowed-signers file"):
        run(PATCH, policy)


def test_allowed_signers_that_others_could_change(run, livepatch, signed):
    policy, key = signed
    sign(livepatch, key)
    os.chmod(policy.allowed_signers, 0o666)
    with pytest.raises(Untrusted, match="allowed-signers file"):
        run(PATCH, policy)


def test_livepatch_that_others_could_change(run, victim, livepatch, tmp_path):
    livepatch.chmod(0o775)
    with pytest.raises(Untrusted, match=r"fix\.ulp"):
        run(PATCH)
    livepatch.chmod(0o755)
    tmp_path.chmod(0o777)
    for check in (True, False):
        with pytest.raises(Untrusted, match=str(tmp_path)):
            run(PATCH, check=check)
    assert victim.ask("answer") == OLD
    # Looking and going back load nothing.
    assert run(CHECK)[0].outcome == "failed"
    assert run(REVERT)[0].outcome == "not_applicable"
    tmp_path.chmod(0o1777)
    assert run(PATCH)[0].outcome == "patched"


def test_livepatch_that_is_replaced_after_it_was_checked(run, victim, livepatch, padded, monkeypatch):
    """Guards that the bytes that were verified are the bytes that a process loads."""
    concerned = Guard.reason

    def replace(guard, pid):
        answer = concerned(guard, pid)
        other = livepatch.with_name("other")
        shutil.copyfile(livepatch, other)
        os.rename(other, livepatch)
        return answer

    monkeypatch.setattr(Guard, "reason", replace)
    row, _result = run(PATCH)
    assert row.outcome == "failed"
    assert "replaced or changed" in row.reason
    assert victim.ask("answer") == OLD


def other_bytes(livepatch):
    """A file of the same size and build ID as ``livepatch``, whose new function adds 6000 instead of 5000."""
    data = livepatch.read_bytes()
    old, new = (number.to_bytes(4, "little") for number in (5000, 6000))
    assert data.count(old) == 1
    path = livepatch.with_name("other")
    path.write_bytes(data.replace(old, new))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("in_place", [False, True])
def test_livepatch_that_is_replaced_just_before_it_is_loaded(run, victim, livepatch, monkeypatch, calls, in_place):
    """Guards the last moment, between the last look at the file and dlopen().

    Seen to fail, with "patched" and 6001, when the file is not looked at again after the process has loaded it.
    """
    other = other_bytes(livepatch)
    confirm = Guard.confirm

    def replace(guard):
        confirm(guard)
        # The first look belongs to reading and verifying.
        if calls.note() == 2:
            if in_place:
                livepatch.write_bytes(other.read_bytes())
            else:
                os.rename(other, livepatch)

    monkeypatch.setattr(Guard, "confirm", replace)
    row, result = run(PATCH)
    assert len(calls) == 2
    assert (row.outcome, row.changed) == ("failed", True)
    assert "may have loaded something else than what was checked" in row.reason
    assert "was reverted" in row.reason
    assert result.failures == [row]
    assert victim.ask("answer") == OLD


def test_livepatch_that_is_changed_while_it_is_verified(run, victim, livepatch, monkeypatch):
    """Guards that a file is refused that changes between the look at it and the end of reading it.

    Seen to fail, with "patched", without the look after reading.
    """
    data = livepatch.read_bytes()
    reading = policy_module.read_file

    def write(path):
        livepatch.write_bytes(data)
        return reading(path)

    monkeypatch.setattr(policy_module, "read_file", write)
    with pytest.raises(Untrusted, match="replaced or changed"):
        run(PATCH)
    assert victim.ask("answer") == OLD


def test_kill_switch_ends_attempts_that_are_under_way(padded, start, livepatch, tmp_path, monkeypatch, calls):
    """Guards "at once" for a process whose threads cannot serve.

    Seen to fail, with "failed" after 3,000 attempts, without Options.veto.
    """
    victim = start(padded)
    switch = tmp_path / "stop"

    def refuse(_borrower, _tid, _deadline):
        if calls.note() == 3:
            switch.touch()
        yield from ()

    monkeypatch.setattr(borrow.Borrower, "_ask", refuse)
    result = dispatch(livepatch, PATCH, Selection((victim.pid,)), Options(), Policy(kill_switch=str(switch)))
    (row,) = result.rows
    assert (row.outcome, result.stopped, len(calls)) == ("excluded", True, 3)
    assert str(switch) in row.reason


def test_empty_signer_does_not_let_in_everybody(run, victim, livepatch, signed):
    """Seen to fail, with "patched", when an empty name counted as none."""
    policy, key = signed
    sign(livepatch, key)
    with pytest.raises(UlpError, match="empty name"):
        run(PATCH, policy._replace(identity=""))
    assert victim.ask("answer") == OLD


# ----------------------------------------------------------------- ledger


def test_ledger(run, victim, livepatch, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    policy = Policy(ledger=str(ledger))
    run(PATCH, policy, check=True)
    run(CHECK, policy)
    assert not ledger.exists()
    run(PATCH, policy)
    run(PATCH, policy)
    run(REVERT, policy)
    first, second = read_last(ledger, 50)
    assert (first["operation"], first["outcome"], first["pid"]) == ("patch", "patched", victim.pid)
    assert (second["operation"], second["outcome"], second["name"]) == ("revert", "reverted", "app")
    assert first["patch_id"] == read_livepatch(livepatch).patch_id
    assert first["held_us"] > 0
    victim.kill()
    assert run(PATCH, policy)[0].outcome == "failed"
    assert read_last(ledger, 1)[0]["outcome"] == "failed"


def test_ledger_that_cannot_be_written_is_a_warning(run, victim, tmp_path):
    (tmp_path / "ledger.jsonl").mkdir()
    row, result = run(PATCH, Policy(ledger=str(tmp_path / "ledger.jsonl")))
    assert row.outcome == "patched"
    assert "the ledger was not written" in result.warnings[0]
    row, result = run(REVERT, Policy(ledger=str(tmp_path / "missing" / "ledger.jsonl")))
    assert (row.outcome, result.warnings) == ("reverted", [])


def test_ledger_of_an_interrupted_run(padded, start, livepatch, tmp_path, monkeypatch):
    """Guards that what was done before an interrupt is written down."""
    victims = [start(padded) for _index in range(2)]
    ledger = tmp_path / "ledger.jsonl"

    def interrupt(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(dispatching._Work, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        dispatch(
            livepatch, PATCH, Selection(tuple(victim.pid for victim in victims)), Options(),
            Policy(ledger=str(ledger)),
        )
    assert sorted(entry["pid"] for entry in read_last(ledger, 50)) == sorted(victim.pid for victim in victims)
