# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with what a run was asked for, as far as the controller can tell."""

from __future__ import annotations

import hashlib
import os
import re

from ..errors import UlpError
from ..livepatch_files import EXTENSION, livepatch_files

# So many digits of a checksum tell contents apart.
_DIGITS = 16

# As Ansible reads an entry of ``serial``. To Ansible 0 means all hosts at once.
_STAGE_SIZE = re.compile(r" *0*[1-9][0-9]*%?")
_SECONDS = re.compile(r" *[0-9]+ *")


def faults(livepatch, signers, signers_source, sizes="", canaries="", groups=(), soaks=""):
    """Why nothing can be rolled out: a list of sentences, empty if it can.

    :param livepatch: path of a livepatch on the controller or of a directory of such, a list of paths, or "".
    :param signers: path of the allowed-signers file on the hosts, or "".
    :param signers_source: path of such a file on the controller, or "".
    :param sizes: those of the stages, as ulp_livepatch_serial has them, or "".
    :param canaries: the group whose hosts come first, or "".
    :param groups: all groups of the inventory.
    :param soaks: how long each stage is watched, as ulp_livepatch_soak_seconds has it, or "".
    """
    if not livepatch:
        return ["Say which livepatch: -e livepatch=FILE.ulp"]
    try:
        files = _files(livepatch)
    except UlpError as error:
        return [str(error)]
    # Ansible takes them only when the first stage begins, and then ends with an error of its own.
    found = [
        f"ulp_livepatch_serial has {size!r} for the size of a stage: give a number of hosts from 1, or a percentage"
        for size in map(str, _flat(sizes)) if not _STAGE_SIZE.fullmatch(size)
    ]
    # Jinja would take them for 0, and the stage would not be watched at all.
    found += [
        f"ulp_livepatch_soak_seconds has {soak!r}: give a number of seconds"
        for soak in map(str, _flat(soaks)) if not _SECONDS.fullmatch(soak)
    ]
    if canaries and canaries not in groups:
        # Nobody would come first then.
        found.append(f"ulp_livepatch_canary_group is {canaries}, which is no group of the inventory")
    found += [
        f"{file} is not a file on the controller: give the path of a livepatch made by ulp pack"
        for file in files if not os.path.isfile(file)
    ]
    if signers_source and not signers:
        found.append(
            "ulp_livepatch_allowed_signers_source is given, but ulp_livepatch_allowed_signers, where to put it, is"
            " empty"
        )
    elif signers_source and not os.path.isfile(real_path(signers_source)):
        found.append(
            f"{signers_source} is not a file on the controller: let ulp_livepatch_allowed_signers_source be one that"
            " lists who may sign, or empty"
        )
    return found


def _flat(sizes):
    """What is given for the stages, one by one: a value, text with commas, or a list, as the playbooks hand it on."""
    if isinstance(sizes, str):
        return sizes.split(",") if sizes else []
    if isinstance(sizes, (list, tuple)):
        return [size for its in sizes for size in (_flat(its) if isinstance(its, (list, tuple)) else [its])]
    return [sizes]


def failure(result):
    """What a task has failed with, one sentence.

    :param result: what it returned, a dict; in ``results`` that of each item where it was a loop.
    """
    items = [its for its in result.get("results") or () if its.get("failed") or its.get("unreachable")]
    said = [str(its.get("msg") or "").strip() for its in items or [result]]
    return "; ".join(dict.fromkeys(filter(None, said))) or "it failed without a message"


def on_hosts(livepatch, directory):
    """The livepatches that are rolled out: a list of dicts.

    :param livepatch: as for faults(), which has found nothing.
    :param directory: where they are kept on hosts.
    :return: dicts with file (path on the controller), name (what it is called on hosts, without .ulp) and path (on
        hosts).
    """
    found = []
    for file in _files(livepatch):
        name = _name_on_hosts(file)
        found.append({"file": file, "name": name, "path": f"{directory}/{name}{EXTENSION}"})
    return found


def _files(livepatch):
    given = [livepatch] if isinstance(livepatch, str) else livepatch
    return livepatch_files([real_path(path) for path in given])


def _name_on_hosts(file):
    """Its name, and what tells its contents from others.

    The loader takes a file of a name that it has loaded before for the same one.
    """
    with open(file, "rb") as stream:
        checksum = hashlib.sha256(stream.read()).hexdigest()
    return f"{os.path.splitext(os.path.basename(file))[0]}-{checksum[:_DIGITS]}"


def real_path(path):
    return os.path.realpath(os.path.expanduser(path))
