# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs that deal with files: ``post``, ``pack``, ``dump``, ``sign``, ``verify``."""

from __future__ import annotations

from ..atomic_file import read_file
from ..counted import counted
from ..elf.post import post_process
from ..errors import BadSignature
from ..livepatch.description import parse_description
from ..livepatch.dump import dump
from ..livepatch.labels import merged, parse_label
from ..livepatch.pack import pack
from ..livepatch.signature import sign, signature_path, verify
from ..livepatch.target import target_fields
from .output import DONE, REFUSED, complain, show
from .report import dump_lines


def _named(what, names):
    """A line that says which ``names`` there are of that, or none."""
    return [f"{what}: {', '.join(names)}"] if names else []


def _post(arguments):
    result = post_process(
        arguments.library, destination=arguments.output, allow_untracked=arguments.allow_untracked
    )
    for warning in result.warnings:
        complain(warning)
    done = "post-processed" if result.changed else "unchanged"
    show(
        arguments,
        {
            "changed": result.changed,
            "path": result.path,
            "build_id": result.build_id,
            "functions": result.functions,
            "trampolines": result.trampolines,
            "untracked": result.untracked,
        },
        [f"{result.path}: {done}, {counted(result.functions, 'function')}, {counted(result.trampolines, 'trampoline')}",
         *_named("accepted without padding", result.untracked)],
    )
    return DONE


def _pack(arguments):
    result = pack(
        parse_description(arguments.description), arguments.output, allow_duplicates=arguments.allow_duplicate,
        labels=merged({}, map(parse_label, arguments.label)), symbols=arguments.symbols, replaces=arguments.replaces,
    )
    for warning in result.warnings:
        complain(warning)
    show(
        arguments,
        {
            "changed": result.changed,
            "path": result.path,
            "patch_id": result.patch_id,
            "targets": [target_fields(target) for target in result.targets],
            "functions": [pair.old for pair in result.functions],
            "guards": [guard.name for guard in result.guards],
            "duplicates": result.duplicates,
        },
        [f"{result.path}: {counted(len(result.functions), 'function')}, patch ID {result.patch_id}",
         *_named("guards", [guard.name for guard in result.guards]),
         *_named("accepted duplicates", result.duplicates)],
    )
    return DONE


def _dump(arguments):
    metadata = dump(arguments.livepatch)
    show(arguments, metadata, dump_lines(metadata))
    return DONE


def _sign(arguments):
    # Nobody should sign what no host will take.
    dump(arguments.livepatch)
    result = sign(arguments.livepatch, arguments.key)
    done = "signed" if result.changed else "unchanged, signed before"
    show(
        arguments,
        {"changed": result.changed, "path": result.path, "fingerprint": result.fingerprint},
        [f"{arguments.livepatch}: {done} with the key {result.fingerprint}, signature {result.path}"],
    )
    return DONE


def _verify(arguments):
    fields = {"path": signature_path(arguments.livepatch), "valid": False, "identity": None, "fingerprint": None}
    reason = ""
    try:
        signer = verify(
            read_file(arguments.livepatch), arguments.livepatch, arguments.allowed_signers, arguments.signer_identity
        )
    except BadSignature as error:
        reason = str(error)
    else:
        fields.update(signer._asdict(), valid=True)
    fields["reason"] = reason
    lines = [] if reason else [
        f"{arguments.livepatch}: signed by {fields['identity']} with the key {fields['fingerprint']}"
    ]
    show(arguments, fields, lines)
    if reason:
        complain(reason)
        return REFUSED
    return DONE


VERBS = {
    "post": _post,
    "pack": _pack,
    "dump": _dump,
    "sign": _sign,
    "verify": _verify,
}
