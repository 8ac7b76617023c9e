# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: what users write means what they meant."""

from __future__ import annotations

import itertools

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.command.arguments import parser

OPTIONS = (["--exclude", "web*"], ["--exclude", "unit=db.service"], ["--json"])
POSITIONALS = ["patch", "F.ulp", "1234", "77"]


def parsed(*arguments):
    return parser().parse_args(["dispatch", *arguments])


@pytest.mark.parametrize("places", itertools.product(range(len(POSITIONALS) + 1), repeat=len(OPTIONS)))
def test_options_may_stand_anywhere(places):
    """Guards that a PID behind an option counts. Seen to fail with ``unrecognized arguments: 1234 77``."""
    arguments = []
    for place, positional in enumerate([*POSITIONALS, None]):
        for option, where in zip(OPTIONS, places):
            if where == place:
                arguments += option
        if positional is not None:
            arguments.append(positional)
    found = parsed(*arguments)
    assert (found.operation, found.operands) == ("patch", ["F.ulp", 1234, 77])
    assert sorted(found.exclude) == ["unit=db.service", "web*"]
    assert found.json


def test_no_process_named():
    found = parsed("check", "--exclude", "web", "F.ulp")
    assert found.operands == ["F.ulp"]
    assert found.exclude == ["web"]


def test_name_that_begins_with_a_hyphen():
    assert parsed("patch", "--dry-run", "--", "-F.ulp", "12").operands == ["-F.ulp", 12]


@pytest.mark.parametrize("arguments, said", [
    (["patch", "F.ulp", "--exclude", "web", "4294967296"], "invalid process ID value: '4294967296'"),
    (["patch", "12", "77"], "the following arguments are required: FILE.ulp"),
    (["patch", "--exclude", "web"], "the following arguments are required: FILE.ulp"),
    (["patch", "F.ulp", "12", "--exclude"], "argument --exclude: expected one argument"),
    (["mend", "F.ulp"], "argument operation: mend is none of patch, revert, check"),
    (["ptch", "F.ulp"], "check; did you mean patch?"),
    (["patch", "F.ulp", "--seccomp", "examin"], "did you mean examine?"),
    (["patch", "F.ulp", "--no-such-option"],
     "ulp dispatch has no option --no-such-option; for usage see ulp dispatch --help"),
    (["patch", "F.ulp", "--dry-rnu"], "ulp dispatch has no option --dry-rnu; did you mean --dry-run?"),
    # What is missing besides is not what is wrong.
    (["--exclud=web", "--exclide=web"], "ulp dispatch has no option --exclide; did you mean --exclude?"),
    (["patch", "F.ulp", "-x"], "ulp dispatch has no option -x"),
])
def test_wrong_usage(arguments, said, capsys):
    with pytest.raises(SystemExit) as caught:
        parsed(*arguments)
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.startswith("ulp: ")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("arguments, said", [
    ([], "the following arguments are required: VERB; for usage see ulp --help"),
    (["lst"], "there is no verb lst; did you mean list?"),
    (["--debug", "lst"], "the option --debug goes after the verb; for usage see ulp --help"),
    (["dispach", "patch", "F.ulp"], "there is no verb dispach; did you mean dispatch?"),
    (["xyzzy"], "there is no verb xyzzy; for usage see ulp --help"),
    (["l\x1bst"], "there is no verb l?st; did you mean list?"),
    (["--verion"], "ulp has no option --verion; did you mean --version?"),
    (["--json", "list"], "the option --json goes after the verb: ulp list --json"),
    (["trigger", "--porcess", "5", "F.ulp"], "ulp trigger has no option --porcess; did you mean --process?"),
    (["dump", "F.ulp", "G.ulp"], "unrecognized arguments: G.ulp; for usage see ulp dump --help"),
    (["build", "--build-space", "0"],
     "argument --build-space: invalid number of GiB value: '0'; for usage see ulp build --help"),
    (["list", "--exam", "3"], None),
])
def test_what_was_meant(arguments, said, capsys):
    """Guards the way out of a slip.  Seen to fail with argparse's list of all choices, below its usage."""
    try:
        parser().parse_args(arguments)
        status = 0
    except SystemExit as error:
        status = error.code
    assert (status, capsys.readouterr().err) == ((2, f"ulp: {said}\n") if said else (0, ""))


def test_verbs_with_required_options():
    found = parser().parse_args(["trigger", "F.ulp", "-p", "12", "--revert"])
    assert (found.process, found.livepatch, found.revert) == (12, "F.ulp", True)


@pytest.mark.parametrize("option", ["--debian", "--package", "--package-dir"])
@pytest.mark.parametrize("diff", ["--diff", "--patch"])
def test_source_package_and_its_diff_have_more_than_one_name(option, diff):
    """Those of the design, which other tools use, and ours."""
    arguments = parser().parse_args(["build", option, "expat=2.5.0-1", diff, "fix.patch", "-o", "out"])
    assert (arguments.debian, arguments.diff, arguments.source) == ("expat=2.5.0-1", ["fix.patch"], None)
