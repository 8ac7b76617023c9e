# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures, by the real ssh-keygen on real files."""

from __future__ import annotations

import os
import subprocess

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import BadSignature, FileProblem, MissingProgram
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.signature import sign, verify

CONTENTS = bytes(range(256)) * 20


@pytest.fixture(name="key")
def fixture_key(tmp_path):
    """A function that makes a key pair and returns the private key's path."""

    def key(name="key", kind="ed25519", passphrase=""):
        path = tmp_path / name
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", name, "-f", str(path)], check=True)
        return path

    return key


@pytest.fixture(name="signers")
def fixture_signers(tmp_path):
    """A function that writes an allowed-signers file of (principals, key[, options])."""

    def signers(*entries):
        path = tmp_path / "allowed_signers"
        lines = []
        for principals, private, *options in entries:
            public = private.with_name(private.name + ".pub").read_text(encoding="ascii")
            lines.append(" ".join([principals, *options, public]))
        path.write_text("".join(lines), encoding="ascii")
        return path

    return signers


@pytest.fixture(name="livepatch")
def fixture_livepatch(tmp_path):
    path = tmp_path / "fix.ulp"
    path.write_bytes(CONTENTS)
    return path


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_what_was_signed_is_valid(kind, key, signers, livepatch):
    private = key(kind=kind)
    signed = sign(livepatch, private)
    assert signed.changed
    assert signed.path == f"{livepatch}.sig"
    allowed = signers(("security@example.com", private))
    assert verify(CONTENTS, livepatch, allowed) == ("security@example.com", signed.fingerprint)
    # And for ssh-keygen itself, as anybody would call it.
    with livepatch.open("rb") as stream:
        subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "security@example.com", "-n", "libpulp-livepatch",
             "-s", signed.path], stdin=stream, check=True, stdout=subprocess.DEVNULL)


def test_what_ssh_keygen_signed_is_valid(key, signers, livepatch):
    private = key()
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "libpulp-livepatch", "-f", private, livepatch], check=True)
    assert verify(CONTENTS, livepatch, signers(("a@b", private))).identity == "a@b"
    assert not sign(livepatch, private).changed


@pytest.mark.parametrize("more", [
    b"x", b"Approved by: nobody\n", b"\0", b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n",
])
def test_signature_with_more_behind_it(more, key, signers, livepatch):
    """Guards a reader of the file from taking for signed what is not.

    Seen to fail without _has_more(): ssh-keygen stops reading at the END line.
    """
    private = key()
    path = sign(livepatch, private).path
    allowed = signers(("a@b", private))
    with open(path, "ab") as stream:
        stream.write(more)
    with pytest.raises(BadSignature, match=f"^{path} has something after"):
        verify(CONTENTS, livepatch, allowed)
    assert sign(livepatch, private).changed
    with open(path, "ab") as stream:
        stream.write(b" \r\n\n")
    assert verify(CONTENTS, livepatch, allowed).identity == "a@b"
    assert not sign(livepatch, private).changed


def test_signing_again_changes_nothing_until_something_is_new(key, livepatch):
    private, other = key(), key("other")
    assert sign(livepatch, private, check=True).changed
    assert not os.path.exists(f"{livepatch}.sig")
    sign(livepatch, private)
    before = os.stat(f"{livepatch}.sig")
    assert not sign(livepatch, private).changed
    after = os.stat(f"{livepatch}.sig")
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sign(livepatch, other, check=True).changed
    livepatch.write_bytes(CONTENTS + b"!")
    assert sign(livepatch, private).changed
    assert not sign(livepatch, private).changed
    assert sign(livepatch, other).changed
    assert sign(livepatch, private).changed


@pytest.mark.parametrize("place", [0, len(CONTENTS) // 2, len(CONTENTS) - 1])
def test_every_byte_is_covered(place, key, signers, livepatch):
    private = key()
    sign(livepatch, private)
    changed = bytearray(CONTENTS)
    changed[place] ^= 1
    with pytest.raises(BadSignature, match=r"fix\.ulp is not what was signed"):
        verify(bytes(changed), livepatch, signers(("a@b", private)))
    for contents in (CONTENTS + b"\0", CONTENTS[:-1]):
        with pytest.raises(BadSignature, match="is not what was signed"):
            verify(contents, livepatch, signers(("a@b", private)))


def test_refusals(key, signers, livepatch, tmp_path):
    private, other = key(), key("other")
    allowed = signers(("a@b", private))
    with pytest.raises(BadSignature, match=r"fix\.ulp is not signed"):
        verify(CONTENTS, livepatch, allowed)
    sign(livepatch, other)
    with pytest.raises(BadSignature, match="not signed by anybody whom .*allowed_signers allows"):
        verify(CONTENTS, livepatch, allowed)
    with pytest.raises(BadSignature, match="no valid signature .* by a@b"):
        verify(CONTENTS, livepatch, allowed, "a@b")
    with pytest.raises(FileProblem, match="nowhere"):
        verify(CONTENTS, livepatch, tmp_path / "nowhere")
    (tmp_path / "fix.ulp.sig").write_text("rubbish", encoding="ascii")
    with pytest.raises(BadSignature, match="not signed by anybody"):
        verify(CONTENTS, livepatch, allowed)


def test_another_namespace_is_no_signature_of_a_livepatch(key, signers, livepatch):
    private = key()
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", private, livepatch], check=True)
    with pytest.raises(BadSignature):
        verify(CONTENTS, livepatch, signers(("a@b", private)))
    assert sign(livepatch, private).changed
    verify(CONTENTS, livepatch, signers(("a@b", private)))
    with pytest.raises(BadSignature, match="namespace"):
        verify(CONTENTS, livepatch, signers(("a@b", private, 'namespaces="git"')))


def test_principals(key, signers, livepatch):
    private, other = key(), key("other")
    sign(livepatch, private)
    allowed = signers(("ops@example.com", other), ("!x@example.com,ops@example.com,*@example.org", private))
    assert verify(CONTENTS, livepatch, allowed).identity == "ops@example.com"
    assert verify(CONTENTS, livepatch, allowed, "anybody@example.org").identity == "anybody@example.org"
    with pytest.raises(BadSignature, match="x@example.com"):
        verify(CONTENTS, livepatch, allowed, "x@example.com")
    with pytest.raises(BadSignature):
        verify(CONTENTS, livepatch, signers(("a@b", private, 'valid-before="20200101"')))


def test_keys_that_cannot_be_used(key, livepatch, tmp_path):
    with pytest.raises(FileProblem, match="nokey"):
        sign(livepatch, tmp_path / "nokey")
    with pytest.raises(BadSignature, match=r"fix\.ulp is not a key"):
        sign(livepatch, livepatch)
    open_to_all = key()
    open_to_all.chmod(0o644)
    with pytest.raises(BadSignature, match="too open") as caught:
        sign(livepatch, open_to_all)
    assert "\n" not in str(caught.value)
    assert not os.path.exists(f"{livepatch}.sig")


def test_machine_without_ssh_keygen(key, signers, livepatch, monkeypatch, tmp_path):
    private = key()
    sign(livepatch, private)
    allowed = signers(("a@b", private))
    monkeypatch.setenv("PATH", str(tmp_path))
    for attempt in (lambda: sign(livepatch, private), lambda: verify(CONTENTS, livepatch, allowed)):
        with pytest.raises(MissingProgram, match="openssh-client"):
            attempt()
