# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``ulp``: a thin shell around the core.

Exit status: 0 done, 1 not so or refused, 2 wrong usage; ``ulp check`` and
``ulp dispatch check`` have 3 for a livepatch that some threads do not see yet.
Results go to standard output, and one sentence for everything else to standard
error.
"""

from __future__ import annotations

import json
import os
import sys

from ..atomic_file import read_file
from ..dispatch.dispatch import dispatch
from ..dispatch.facts import gather
from ..dispatch.policy import Policy
from ..dispatch.result import CHECK, PATCH, REVERT
from ..dispatch.rules import parse_exclude
from ..dispatch.select import Selection
from ..elf.post import post_process
from ..errors import BadSignature, UlpError
from ..livepatch.description import parse_description
from ..livepatch.dump import dump, target_fields
from ..livepatch.pack import pack
from ..livepatch.signature import sign, signature_path, verify
from ..printable import printable
from ..process.mapped import MappedFiles
from ..process.runtime import read_messages
from ..process.subject import examine
from ..trigger import outcome
from ..trigger.options import Options
from .arguments import parser
from .report import outcome_table, state_lines

DONE = 0
REFUSED = 1
PENDING = 3
INTERRUPTED = 130


def _complain(sentence):
    sys.stderr.write(f"ulp: {printable(sentence)}\n")


def _print_json(value):
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True) + "\n")


def _show(arguments, value, lines):
    if arguments.json:
        _print_json(value)
    else:
        for line in lines:
            sys.stdout.write(f"{line}\n")


def _post(arguments):
    result = post_process(
        arguments.library, destination=arguments.output, allow_untracked=arguments.allow_untracked
    )
    for warning in result.warnings:
        _complain(warning)
    done = "post-processed" if result.changed else "unchanged"
    _show(
        arguments,
        {
            "changed": result.changed,
            "path": result.path,
            "build_id": result.build_id,
            "functions": result.functions,
            "trampolines": result.trampolines,
        },
        [f"{result.path}: {done}, {result.functions} functions, {result.trampolines} trampolines"],
    )
    return DONE


def _pack(arguments):
    result = pack(parse_description(arguments.description), arguments.output)
    for warning in result.warnings:
        _complain(warning)
    _show(
        arguments,
        {
            "changed": result.changed,
            "path": result.path,
            "patch_id": result.patch_id,
            "targets": [target_fields(target) for target in result.targets],
            "functions": [pair.old for pair in result.functions],
        },
        [f"{result.path}: {len(result.functions)} functions, patch ID {result.patch_id}"],
    )
    return DONE


def _dump(arguments):
    _print_json(dump(arguments.container))
    return DONE


def _options(arguments):
    return Options(
        timeout=arguments.timeout,
        retries=arguments.retries,
        wait_migrated=arguments.wait_migrated,
        seccomp=arguments.seccomp,
        check=getattr(arguments, "dry_run", False),
    )


def _is_good(row):
    """Whether the process is as it was asked to be, if only for threads that have not got there yet."""
    return row.outcome in (outcome.PATCHED, outcome.ALREADY_PATCHED, outcome.REVERTED) or (
        row.outcome == outcome.PENDING and row.threads_pending > 0
    )


def _policy(arguments):
    return Policy(
        allowed_signers=arguments.allowed_signers,
        identity=arguments.identity,
        kill_switch=arguments.kill_switch or None,
        hold_file=arguments.hold_file or None,
        retracted_file=arguments.retracted_file or None,
        exclude=parse_exclude(getattr(arguments, "exclude", ())),
        ledger=arguments.ledger or None,
    )


def _sign(arguments):
    # Nobody should sign what no host will take.
    dump(arguments.container)
    result = sign(arguments.container, arguments.key)
    done = "signed" if result.changed else "unchanged, signed before"
    _show(
        arguments,
        {"changed": result.changed, "path": result.path, "fingerprint": result.fingerprint},
        [f"{arguments.container}: {done} with the key {result.fingerprint}, signature {result.path}"],
    )
    return DONE


def _verify(arguments):
    fields = {"path": signature_path(arguments.container), "valid": False, "identity": None, "fingerprint": None}
    reason = ""
    try:
        signer = verify(
            read_file(arguments.container), arguments.container, arguments.allowed_signers, arguments.identity
        )
    except BadSignature as error:
        reason = str(error)
    else:
        fields.update(signer._asdict(), valid=True)
    fields["reason"] = reason
    lines = [] if reason else [
        f"{arguments.container}: signed by {fields['identity']} with the key {fields['fingerprint']}"
    ]
    _show(arguments, fields, lines)
    if reason:
        _complain(reason)
        return REFUSED
    return DONE


def _sentence(row):
    """What to say of a process that is not as it should be."""
    return row.reason or f"the livepatch was reverted in process {row.pid} ({row.name})"


def _trigger(arguments):
    result = dispatch(
        arguments.container,
        REVERT if arguments.revert else PATCH,
        Selection((arguments.process,)),
        _options(arguments),
        _policy(arguments),
    )
    for warning in result.warnings:
        _complain(warning)
    (row,) = result.rows
    good = _is_good(row)
    _show(arguments, row.as_dict(), outcome_table([row]) if good else [])
    if good:
        return DONE
    _complain(row.reason)
    return REFUSED


def _check(arguments):
    result = dispatch(arguments.container, CHECK, Selection((arguments.process,)), Options())
    (row,) = result.rows
    _show(arguments, row.as_dict(), outcome_table([row]) if _is_good(row) else [])
    return _applied_status(result)


def _applied_status(result):
    """The exit status that says whether the livepatch is applied; complains of processes that do not have it."""
    without = [row for row in result.lacking if row.outcome != outcome.PENDING]
    for row in without:
        _complain(_sentence(row))
    if without:
        return REFUSED
    return PENDING if result.lacking else DONE


def _dispatch(arguments):
    selection = Selection(tuple(arguments.pids), tuple(arguments.name))
    result = dispatch(
        arguments.container, arguments.operation, selection, _options(arguments), _policy(arguments)
    )
    for warning in result.warnings:
        _complain(warning)
    lines = outcome_table(result.rows) if result.rows else ["no process runs a library that this livepatch is for"]
    _show(arguments, [row.as_dict() for row in result.rows], lines)
    if result.operation == CHECK:
        return _applied_status(result)
    bad = result.failures + [row for row in result.unmet if row not in result.failures]
    for row in bad:
        _complain(_sentence(row))
    return REFUSED if bad else DONE


def _list(arguments):
    facts = gather(Selection(pids=(arguments.process,)) if arguments.process else None)
    _show(arguments, facts, state_lines(facts))
    if arguments.process and facts["unpatchable"]:
        _complain(facts["unpatchable"][0]["reason"])
        return REFUSED
    return DONE


def _messages(arguments):
    subject = examine(arguments.process, MappedFiles())
    lines = [printable(line) for line in read_messages(subject.via, subject.state)]
    _show(arguments, lines, lines)
    return DONE


VERBS = {
    "post": _post,
    "pack": _pack,
    "dump": _dump,
    "sign": _sign,
    "verify": _verify,
    "trigger": _trigger,
    "check": _check,
    "dispatch": _dispatch,
    "list": _list,
    "messages": _messages,
}


def main(argv=None):
    """Run the command.

    :param argv: its arguments; those of the process when None.
    :return: the exit status.
    """
    try:
        arguments = parser().parse_args(argv)
    except SystemExit as error:
        return error.code
    try:
        status = VERBS[arguments.verb](arguments)
        sys.stdout.flush()
    except UlpError as error:
        _complain(error)
        return REFUSED
    except BrokenPipeError:
        # The reader of our output has gone; keep the interpreter from complaining about that at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    except OSError as error:
        _complain(error)
        return REFUSED
    except KeyboardInterrupt:
        _complain("interrupted; no thread is held")
        return INTERRUPTED
    return status
