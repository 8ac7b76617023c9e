# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of ``ulp``."""

from __future__ import annotations

from ..defaults import (
    ATTACH,
    BUILD_GIBIBYTES,
    BUILD_SECONDS,
    EXAMINE,
    EXAMINE_SECONDS,
    HOLD_FILE,
    KILL_SWITCH,
    LEDGER,
    RETRACTED_FILE,
    RETRIES,
    RUNTIME,
    SECCOMP,
    TIMEOUT_SECONDS,
    WATCH_SECONDS,
)
from ..version import VERSION
from .usage import Parser, one_of

# What a pid_t can hold.
_MOST_PIDS = 1 << 31


def _pid(text):
    value = int(text)
    if not 0 < value < _MOST_PIDS:
        raise ValueError
    return value


def _process(text):
    """A PID, or a word that is none (str): the wildcard of a name, or a path."""
    return _pid(text) if text.isascii() and text.isdigit() else text


def _seconds(text):
    value = float(text)
    if not 0 <= value < 1e6:
        raise ValueError
    return value


def _above_zero(text):
    value = _seconds(text)
    if not value:
        raise ValueError
    return value


def _gibibytes(text):
    return _above_zero(text)


def _count(text):
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def _misused(arguments):
    """What is wrong with how ``ulp dispatch`` was called, one sentence; None: nothing."""
    if arguments.replace and arguments.operation != "patch":
        return "--replace goes with patch alone"
    livepatches = [operand for operand in arguments.operands if isinstance(operand, str)]
    if arguments.all_of is None:
        return None if livepatches else "the following arguments are required: FILE.ulp"
    if arguments.operation != "revert":
        return "--all-of goes with revert alone"
    return f"--all-of stands in place of a livepatch; leave out {livepatches[0]}" if livepatches else None


# argparse names the type in its message.
_pid.__name__ = _process.__name__ = "process ID"
_seconds.__name__ = _above_zero.__name__ = "number of seconds"
_gibibytes.__name__ = "number of GiB"
_count.__name__ = "number"


def parser(only=None):
    """The usage.Parser; the chosen verb is in ``verb``.

    :param only: the name of a verb, if no other is going to be asked for; to make them all takes as long as to start.
    """
    top = Parser(
        prog="ulp", description="Patch functions of shared libraries in running processes.",
        epilog="ulp VERB --help says more about a verb. Exit status: 0 done, 1 refused, or the answer is no, 2 wrong"
        " usage, 3 applied, but some threads still use old functions; 128 plus the signal's number if it was"
        " interrupted.",
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    verbs = top.add_verbs()

    def verb(name, text, more=None):
        added = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", epilog=more)
        added.add_argument("--json", action="store_true", help="print the result as JSON")
        added.add_argument("--debug", action="store_true",
                           help="print the traceback of an error that ends up in the row of a process")
        return added

    for name, add in _VERBS.items():
        if only in (None, name):
            add(verb)
    return top


def _post(verb):
    post = verb("post", "make a shared library livepatchable")
    post.add_argument("library", metavar="LIB.so", help="the library, built with padding and trm.o")
    post.add_argument("-o", "--output", metavar="OUT", help="write the result here instead of replacing the library")
    post.add_argument("--allow-untracked", action="store_true",
                      help="accept exported functions without padding, through which threads enter the library unseen")


def _build(verb):
    build = verb(
        "build", "make a livepatch from a source and a diff, and prove it",
        "The source is a tree with the command that builds it, or a source package of a distribution. It is built"
        " before and after the diff, and the functions whose code differs are replaced."
        " Exit status: 0 built, 1 refused: each reason is on standard error.",
    )
    sources = build.add_mutually_exclusive_group(required=True)
    sources.add_argument("--source", metavar="DIR",
                         help="a source tree, without the diff; --build says how it is built")
    sources.add_argument("--debian", "--package", "--package-dir", metavar="PACKAGE",
                         help="a source package of Debian, built by its debian/rules: NAME or NAME=VERSION as apt knows"
                         " it, a .dsc file, or a directory")
    sources.add_argument("--srpm", metavar="FILE", help="a source package of RPM, built by its spec file")
    build.add_argument("--build", metavar="COMMAND", action="append", default=[],
                       help="the shell command that builds it, with the flags that the library was built with; may be"
                       " given several times, for a library that is built with padding and without, say; there is a"
                       " livepatch for each")
    build.add_argument("--prepare", metavar="COMMAND", help="a shell command to run once before, such as ./configure")
    build.add_argument("--diff", "--patch", metavar="DIFF", action="append", default=[],
                       help="the fix; for a source package, also the name of one of its patches; may be given"
                       " several times")
    build.add_argument("--without-patch", metavar="NAME", action="append", default=[],
                       help="build the source package without this one of its patches; may be given several times."
                       " Unless --diff is given, what was left out is the fix")
    build.add_argument("--strip", metavar="N", type=_count, default=1,
                       help="leading directories to drop from the names in the diff, as patch -p; default: %(default)s")
    build.add_argument("--target", metavar="NAME", action="append", default=[],
                       help="only this library or program, by soname or file name; may be given several times; default:"
                       " every library whose code changes, or every program if no library does")
    build.add_argument("--running", metavar="FILE", action="append", default=[],
                       help="the library as it is installed where it runs, or the name of the Debian package that is"
                       " installed and has it; may be given several times; there is a livepatch for each; default:"
                       " the one that is built here")
    build.add_argument("--root", metavar="DIR", action="append", default=[],
                       help="build in this directory tree of another system, as mmdebstrap makes it, with its compiler"
                       " and libraries, and leave it as it is; may be given several times; there are livepatches"
                       " for each; --running then names a file or a package of the root")
    build.add_argument("--image", metavar="NAME", action="append", default=[],
                       help="the same in a container image that podman has; may be given several times")
    build.add_argument("-o", "--output", metavar="DIR", required=True,
                       help="write the livepatches here, or to this file if its name ends in .ulp")
    build.add_argument("--allow", metavar="NAME", action="append", default=[],
                       help="go on although what has this name is refused; a name or a pattern, with the kind before it"
                       " if you like, as in layout:NAME; may be given several times; the livepatch's metadata say what"
                       " was allowed")
    build.add_argument("--guard", metavar="NAME", action="append", default=[],
                       help="also hook this function of a target without padding, but do not replace it: what it calls,"
                       " itself or through others, is all old or all new; may be given several times")
    build.add_argument("--anew", metavar="NAME", action="append", default=[],
                       help="let this new variable, a name or a pattern, start anew even if a process has it from an"
                       " earlier livepatch; otherwise new code goes on with that one; may be given several times")
    build.add_argument("--label", metavar="TEXT", action="append", default=[],
                       help="what the livepatch is about, as for ulp pack; may be given several times")
    build.add_argument("--work", metavar="DIR",
                       help="where to build; what stays there makes the next run short; default: below"
                       " ~/.cache/ulp/build")
    build.add_argument("--build-timeout", metavar="SECONDS", type=_above_zero, default=BUILD_SECONDS,
                       help="how long each command of the source may take; default: %(default)s")
    build.add_argument("--build-space", metavar="GIB", type=_gibibytes, default=BUILD_GIBIBYTES,
                       help="how many GiB of the disk the working directory may take; default: %(default)s")
    build.add_argument("--runtime", metavar="FILE", default=RUNTIME,
                       help="libpulp.so for the proof on a trial process; default: %(default)s")
    build.add_argument("--no-proof", action="store_true", help="leave out the proof on a trial process")
    build.add_argument("--test", metavar="COMMAND",
                       help="run this shell command, such as 'make check', in the built tree under the livepatch; there"
                       " is no livepatch unless it succeeds")
    build.add_argument("--as-root", action="store_true", help="run the commands of the source as root if you are root")


def _pack(verb):
    pack = verb("pack", "make a livepatch from a description file")
    pack.add_argument("description", metavar="PATCH.dsc",
                      help="names the patch library, the libraries that it is for, and the functions that it replaces")
    pack.add_argument("-o", "--output", metavar="OUT.ulp",
                      help="write the livepatch here; default: the description's name, ending in .ulp")
    pack.add_argument("--allow-duplicate", metavar="NAME", action="append", default=[],
                      help="accept that the patch library has a copy of this function or variable of the target;"
                      " a name or a pattern; may be given several times")
    pack.add_argument("--symbols", metavar="FILE", action="append", default=[],
                      help="find static functions of a stripped target without padding through this file: its debug"
                      " file, or the same code built again; may be given several times")
    pack.add_argument("--label", metavar="TEXT", action="append", default=[],
                      help="what the livepatch is about: KEY=VALUE, a CVE number, or a bug reference such as bsc#123;"
                      " may be given several times")
    pack.add_argument("--replaces", metavar="NAME", action="append", default=[],
                      help="where it is applied, these livepatches of its targets are reverted in the same moment: a"
                      " patch ID, a name or a wildcard of names, '*' for all; may be given several times")


def _dump(verb):
    dump = verb("dump", "show what is in a livepatch")
    dump.add_argument("livepatch", metavar="FILE.ulp", help="the livepatch")


def _sign(verb):
    sign = verb("sign", "sign a livepatch; the signature is written to FILE.ulp.sig")
    sign.add_argument("livepatch", metavar="FILE.ulp", help="the livepatch")
    sign.add_argument("-k", "--key", metavar="KEY", required=True,
                      help="private key of ssh-keygen, or a public key whose private half an agent holds")


def _verify(verb):
    verify = verb("verify", "tell whether somebody who may sign has signed a livepatch: exit 0 yes, 1 no")
    verify.add_argument("livepatch", metavar="FILE.ulp", help="the livepatch")
    _signers(verify, required=True)


def _trigger(verb):
    trigger = verb(
        "trigger", "apply a livepatch to one process, or revert it",
        "Exit status: 0 done, even if threads have not left the library yet; 1 refused, also if the livepatch is not"
        " for this process, or there is nothing to revert; 128 plus the signal's number if it was interrupted.",
    )
    trigger.add_argument("-p", "--process", metavar="PID", type=_pid, required=True, help="the process")
    trigger.add_argument("livepatch", metavar="FILE.ulp", help="the livepatch")
    trigger.add_argument("--revert", action="store_true", help="revert the livepatch instead of applying it")
    _limits(trigger)
    _policy(trigger)


def _check(verb):
    check = verb("check", "tell whether a livepatch is applied: exit 0 on every thread, 1 not applied, 3 pending")
    check.add_argument("-p", "--process", metavar="PID", type=_pid, required=True, help="the process")
    check.add_argument("livepatches", metavar="FILE.ulp", nargs="+",
                       help="the livepatch; or several, or a directory of them, of which the process should have one")
    _examination(check)


def _dispatch(verb):
    dispatch = verb(
        "dispatch", "apply, revert or check a livepatch in many processes",
        "If there are several livepatches, such as one fix for several builds of a library, each process gets those"
        " that are for what it runs. Exit status of patch and revert: 0 no process failed and every PID given is as"
        " asked, even if threads have not left the library yet; 1 otherwise, also if processes that were just forked"
        " keep turning up. Of check: 0 applied on every thread of every process that the livepatch is for and of"
        " every PID given (also if there is none), 1 not applied to one of them, 3 applied but pending. 128 plus the"
        " signal's number if it was interrupted.",
    )
    dispatch.set_defaults(misuse=_misused)
    dispatch.add_argument("operation", **one_of(("patch", "revert", "check")), help="what to do")
    dispatch.add_argument("operands", metavar="FILE.ulp|DIR|PID", type=_process, nargs="*",
                          help="the livepatches: files, or directories with files that end in .ulp; none with --all-of."
                          " A number is the PID of a process; without any, all processes are meant")
    dispatch.add_argument("--name", metavar="WILDCARD", action="append", default=[],
                          help="only processes with such a name")
    dispatch.add_argument("--exclude", metavar="RULE", action="append", default=[],
                          help="leave these processes out: the wildcard of a name, or a rule as in the hold file,"
                          " unit=WILDCARD")
    dispatch.add_argument("--all-of", metavar="NAME",
                          help="with revert, in place of livepatches: revert all of the library with this soname, in"
                          " each process in one moment")
    dispatch.add_argument("--replace", action="store_true",
                          help="with patch: revert what else is applied to the livepatch's targets, in the same moment")
    dispatch.add_argument("--dry-run", action="store_true", help="say what would be done and touch no process")
    _limits(dispatch)
    _policy(dispatch)


def _list(verb):
    listing = verb(
        "list", "show the livepatchable processes and their state; what needs attention comes first",
        "Processes that have nothing to do with any livepatch are left out. Exit status: 0 done, 1 a process given by"
        " its PID does not exist or cannot be patched; 128 plus the signal's number if it was interrupted, as --watch"
        " is.",
    )
    listing.add_argument("processes", metavar="PROCESS", type=_process, nargs="*",
                         help="only these processes: PIDs, names, or wildcards of names; without any: all")
    listing.add_argument("-p", "--process", metavar="PID", type=_pid, action="append", default=[],
                         help="only this process; may be given several times")
    listing.add_argument("--all", action="store_true",
                         help="also show the processes that have nothing to do with any livepatch, and why each could"
                         " not be patched; JSON always has them")
    listing.add_argument("--watch", metavar="SECONDS", type=_above_zero, nargs="?", const=WATCH_SECONDS,
                         help="show them again every SECONDS until you interrupt it; JSON then has one line each"
                         f" time; without a number: {WATCH_SECONDS:g}; put names before this option")
    _examination(listing)


def _explain(verb):
    explain = verb(
        "explain", "tell why a process can be patched, or why not, step by step",
        "It touches nothing. Exit status: 0 the process is patched or can be, 1 it can't be.",
    )
    explain.add_argument("-p", "--process", metavar="PID", type=_pid, required=True, help="the process")
    explain.add_argument("livepatches", metavar="FILE.ulp", nargs="*",
                         help="with this livepatch, or with the one of several, or of a directory, that is for it;"
                         " without one: with any")
    _attaching(explain)
    _seccomp(explain)
    _rules(explain)
    _examination(explain)


def _messages(verb):
    messages = verb("messages", "show what the runtime in a process has logged")
    messages.add_argument("-p", "--process", metavar="PID", type=_pid, required=True, help="the process")
    _examination(messages)


def _examination(verb):
    verb.add_argument("--examine-timeout", metavar="SECONDS", type=_above_zero, default=EXAMINE_SECONDS,
                      help="how long one process may keep the others waiting while it is looked at; default:"
                      " %(default)s")


def _limits(verb):
    verb.add_argument("--timeout", metavar="SECONDS", type=_seconds, default=TIMEOUT_SECONDS,
                      help="how long the process may take to answer; default: %(default)s")
    verb.add_argument("--retries", metavar="N", type=_count, default=RETRIES,
                      help="how often to ask again; default: %(default)s")
    _attaching(verb)
    _seccomp(verb)
    verb.add_argument("--wait-migrated", metavar="SECONDS", type=_seconds, default=0.0,
                      help="how long to wait until no thread is pending; default: %(default)s")
    _examination(verb)


def _attaching(verb):
    verb.add_argument("--attach", action="store_true", default=ATTACH,
                      help="load the runtime into a process that was started without it, the default")
    verb.add_argument("--no-attach", dest="attach", action="store_false",
                      help="leave such a process alone")
    verb.add_argument("--runtime", metavar="FILE", default=RUNTIME,
                      help="the runtime to load into such a process; default: %(default)s")


def _seccomp(verb):
    verb.add_argument("--seccomp", **one_of(SECCOMP), default=EXAMINE,
                      help="what to do with a process whose seccomp filter cannot be examined, as inside a container:"
                      " examine leaves it alone, assume_errno takes your word that the filter denies calls with an"
                      " error; if it kills instead, the process is lost; default: %(default)s")


def _signers(verb, required=False):
    verb.add_argument("--allowed-signers", metavar="FILE", required=required,
                      help="the livepatch must be signed by somebody whom this file lists, see ssh-keygen(1)")
    verb.add_argument("--identity", metavar="NAME", dest="signer_identity",
                      help="the only signer in that file who counts; default: any of them")


def _policy(verb):
    _rules(verb)
    verb.add_argument("--ledger", metavar="FILE", default=LEDGER,
                      help="record here what was done, if the directory exists; '' for none; default: %(default)s")


def _rules(verb):
    _signers(verb)
    verb.add_argument("--kill-switch", metavar="PATH", default=KILL_SWITCH,
                      help="apply nothing while this file exists; '' for none; default: %(default)s")
    verb.add_argument("--hold-file", metavar="FILE", default=HOLD_FILE,
                      help="leave alone the processes that this file names; '' for none; default: %(default)s")
    verb.add_argument("--retracted-file", metavar="FILE", default=RETRACTED_FILE,
                      help="apply no livepatch that this file names; '' for none; default: %(default)s")


# In the order in which the help names them.
_VERBS = {
    "post": _post,
    "build": _build,
    "pack": _pack,
    "dump": _dump,
    "sign": _sign,
    "verify": _verify,
    "trigger": _trigger,
    "check": _check,
    "dispatch": _dispatch,
    "list": _list,
    "explain": _explain,
    "messages": _messages,
}
