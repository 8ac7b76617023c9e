# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detached signatures of livepatches, made and verified by ssh-keygen(1), options -Y.

A signature covers every byte of FILE.ulp and stands, alone, in FILE.ulp.sig.  Who may
sign is listed in an allowed-signers file (ssh-keygen(1), ALLOWED SIGNERS).

All functions take the bytes, not only the path: what was verified must be
what is used afterwards.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from typing import Any

from ..atomic_file import read_file, replace_file
from ..errors import BadSignature, FileProblem, MissingProgram, UlpError
from ..named_tuple import NamedTuple
from ..printable import printable

NAMESPACE = "libpulp-livepatch"
EXTENSION = ".sig"

_KEYGEN = "ssh-keygen"
# PROTOCOL.sshsig of OpenSSH, "Armored format".
_END = b"-----END SSH SIGNATURE-----"
_FINGERPRINT = re.compile(r"\b(?:SHA256|MD5):\S+")


class Signed(NamedTuple):
    """What ``sign`` did."""

    path: str  # of the signature
    changed: bool
    fingerprint: str  # of the key
    before: str | None  # the fingerprint of the key that the livepatch was signed with; None: it was not


class Signer(NamedTuple):
    """Who signed: the principal of the allowed-signers file, printable, and the fingerprint of the key."""

    identity: str
    fingerprint: str


def signature_path(path: str | os.PathLike[str]) -> str:
    """Where the signature of the livepatch at ``path`` is."""
    return f"{path}{EXTENSION}"


def sign(
    path: str | os.PathLike[str], key: str | os.PathLike[str], data: bytes | None = None, check: bool = False,
) -> Signed:
    """Sign a livepatch, unless it is signed with that key already.

    :param path: of the livepatch; its signature is written beside it.
    :param key: path of a private key, or of a public key whose private half an agent holds.
    :param data: all bytes of the livepatch; read from ``path`` when None.
    :param check: write nothing, only tell; the key is not used.
    :return: Signed.
    :raises FileProblem: a file cannot be read or written.
    :raises BadSignature: the key cannot be used.
    :raises MissingProgram: ssh-keygen is not installed.
    """
    data = read_file(path) if data is None else data
    destination = signature_path(path)
    fingerprint = _key_fingerprint(key)
    before = None
    if os.path.exists(destination) and not _has_more(destination):
        before = _fingerprint_of_signature(destination, data)
    changed = before != fingerprint
    if changed and not check:
        replace_file(destination, _signature(path, key, data))
    return Signed(destination, changed, fingerprint, before)


def verify(
    data: bytes, path: str | os.PathLike[str], allowed_signers: str | os.PathLike[str], identity: str | None = None,
) -> Signer:
    """Make sure that a livepatch is signed by somebody who may.

    :param data: all bytes of the livepatch.
    :param path: its path; the signature is looked for beside it.
    :param allowed_signers: path of the allowed-signers file.
    :param identity: the principal who must have signed; None: any principal of the file.
    :return: Signer.
    :raises FileProblem: the signature or the allowed-signers file cannot be read.
    :raises BadSignature: the livepatch is not signed, was changed afterwards, or was signed by somebody else.
    :raises MissingProgram: ssh-keygen is not installed.
    :raises UlpError: the identity is empty.
    """
    if identity == "":
        # A variable that was left empty must not let in everybody.
        raise UlpError(f"the signer who must have signed {path} has an empty name; name one, or none to accept any")
    signature = signature_path(path)
    if not os.path.lexists(signature):
        raise BadSignature(f"{path} is not signed: there is no {signature}; sign it with ulp sign")
    if _has_more(signature):
        raise BadSignature(
            f"{signature} has something after its last line {_END.decode()}, which nobody signed; remove that, or sign"
            f" {path} again with ulp sign"
        )
    # For the sentence that names the file; ssh-keygen's own would name none.
    read_file(allowed_signers)
    principals = [identity] if identity is not None else _principals(path, signature, allowed_signers)
    for principal in principals:
        done = _keygen(
            "verify", "-f", str(allowed_signers), "-I", principal, "-n", NAMESPACE, "-s", signature, data=data
        )
        if done.returncode == 0:
            return Signer(printable(principal), _fingerprint(done))
    if _fingerprint_of_signature(signature, data) is None:
        raise BadSignature(f"{path} is not what was signed: it does not match its signature {signature}")
    who = identity or f"a signer that {allowed_signers} allows"
    raise BadSignature(f"{signature} is no valid signature of {path} by {who}: {_reason(done)}")


def _signature(path: str | os.PathLike[str], key: str | os.PathLike[str], data: bytes) -> bytes:
    """The bytes of a signature of ``data``."""
    # Not through standard input: ssh-keygen would take the first line of the data for the key's passphrase.
    with tempfile.TemporaryDirectory() as directory:
        copy = os.path.join(directory, os.path.basename(path))
        replace_file(copy, data)
        done = _keygen("sign", "-n", NAMESPACE, "-f", str(key), "-q", copy, data=None)
        if done.returncode != 0:
            raise BadSignature(f"cannot sign {path} with the key {key}: {_reason(done)}")
        return read_file(signature_path(copy))


def _has_more(signature: str) -> bool:
    """Whether anything but white space follows the signature in its file: ssh-keygen would not read it."""
    return bool(read_file(signature).partition(b"\n" + _END)[2].strip())


def _principals(
    path: str | os.PathLike[str], signature: str, allowed_signers: str | os.PathLike[str],
) -> list[str]:
    """The names that the allowed-signers file has for the key of a signature, at least one."""
    done = _keygen("find-principals", "-f", str(allowed_signers), "-s", signature)
    names: list[str] = []
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        # An entry may name several principals, and with "!" some that it is not for.
        names.extend(name for name in line.strip().split(",") if name and not name.startswith("!"))
    if done.returncode != 0 or not names:
        raise BadSignature(
            f"{path} is not signed by anybody whom {allowed_signers} allows: {_reason(done)}"
        )
    return names


def _fingerprint_of_signature(signature: str, data: bytes) -> str | None:
    """The fingerprint of the key that made ``signature`` over ``data``, or None: it does not fit."""
    done = _keygen("check-novalidate", "-n", NAMESPACE, "-s", signature, data=data)
    return _fingerprint(done) if done.returncode == 0 else None


def _key_fingerprint(key: str | os.PathLike[str]) -> str:
    if not os.path.exists(key):
        raise FileProblem("read", key, FileNotFoundError(2, "No such file or directory"))
    done = _run([_KEYGEN, "-l", "-E", "sha256", "-f", str(key)])
    fingerprint = _fingerprint(done)
    if done.returncode != 0 or not fingerprint:
        raise BadSignature(f"{key} is not a key to sign with: {_reason(done)}")
    return fingerprint


def _fingerprint(done: subprocess.CompletedProcess[bytes]) -> str:
    found = _FINGERPRINT.search(done.stdout.decode("utf-8", "replace"))
    return found.group() if found else ""


def _keygen(operation: str, *arguments: str, data: bytes | None = b"") -> subprocess.CompletedProcess[bytes]:
    return _run([_KEYGEN, "-Y", operation, *arguments], data)


def _run(command: list[str], data: bytes | None = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command; its standard input is ``data`` or, for None, the terminal if there is one."""
    given: dict[str, Any] = {"input": data}
    if data is None:
        interactive = sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
        given = {"stdin": None if interactive else subprocess.DEVNULL}
    try:
        return subprocess.run(
            command, capture_output=True, check=False, env=dict(os.environ, LC_ALL="C"), **given
        )
    except FileNotFoundError as error:
        raise MissingProgram(command[0], "openssh-client") from error
    except OSError as error:
        raise UlpError(f"cannot run {command[0]}: {error.strerror or error}") from error


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """What ssh-keygen said first, without the box that it may draw around a warning."""
    lines = (done.stderr or done.stdout).decode("utf-8", "replace").splitlines()
    said = [line.replace("Enter passphrase:", "").strip(" .\r") for line in lines if not line.startswith("@")]
    return next(filter(None, said), f"{_KEYGEN} ended with status {done.returncode}")
