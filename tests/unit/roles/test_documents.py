# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual page and the completions of the command: complete, and taken by the programs that they are for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.command.arguments import parser
from ansible_collections.libpulp.livepatch.plugins.module_utils.version import VERSION

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "roles" / "ulp_runtime" / "files" / "document_ulp.py"
MANUAL = "man/man1/ulp.1"
BASH = "bash-completion/completions/ulp"
ZSH = "zsh/vendor-completions/_ulp"
FISH = "fish/vendor_completions.d/ulp.fish"
VERBS = parser().verbs


@pytest.fixture(scope="module", name="share")
def fixture_share(tmp_path_factory):
    directory = tmp_path_factory.mktemp("share")
    subprocess.run([sys.executable, "-B", DOCUMENT, directory, "vendor-completions"], check=True)
    return directory


def run(*words, **options):
    """What a program prints; it must have nothing to complain about."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_nothing_else_is_written(share):
    assert {str(path.relative_to(share)) for path in share.rglob("*") if path.is_file()} == {MANUAL, BASH, ZSH, FISH}


@pytest.mark.parametrize("document", [MANUAL, BASH, ZSH, FISH])
def test_every_verb_and_option_is_in_it(share, document):
    """Guards what is added to the parser.  Seen to fail with the generator's loop over options ended by the first."""
    text = re.sub(r"\\f[BIR]", "", (share / document).read_text(encoding="utf-8")).replace("\\-", "-")
    for name, verb in VERBS.items():
        assert re.search(rf"\b{name}\b", text), name
        for option in verb.options:
            # fish has names without hyphens.
            shown = re.sub("^--?", lambda found: "-l " if found[0] == "--" else "-s ", option)
            wanted = shown if document == FISH else option
            assert re.search(rf"(?<![\w-]){re.escape(wanted)}(?![\w-])", text), (name, option)


def test_each_argument_says_what_it_is():
    """Seen to fail with PATCH.dsc, of which help showed the name alone."""
    for verb in VERBS.values():
        assert [action.dest for action in verb.arguments if not action.help] == []


def test_manual_reads_well(share):
    """Seen to fail with a backslash that was not escaped, and with a line that began with a full stop."""
    environment = dict(os.environ, MANWIDTH="80", LC_ALL="C.UTF-8", MANROFFOPT="-c")
    if shutil.which("man") is None:
        pytest.skip("there is no man on this machine")
    text = run("man", "--warnings", "-l", share / MANUAL, env=environment)
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "VERBS", "EXIT STATUS", "SEE ALSO"):
        assert f"\n{heading}\n" in text
    assert f"ulp {VERSION}" in text
    assert "ulp - patch functions of shared libraries in running processes" in text
    words = " ".join(text.split())
    for verb in VERBS.values():
        assert verb.description in words
        for action in verb.arguments:
            assert action.help % dict(vars(action), prog=verb.prog) in words


def test_other_reader_of_manuals(share):
    if shutil.which("mandoc") is None:
        pytest.skip("there is no mandoc on this machine")
    done = subprocess.run(["mandoc", "-T", "lint", share / MANUAL], capture_output=True, text=True, check=False)
    # A date would make other bytes of the same sources.
    assert [line for line in (done.stdout + done.stderr).splitlines() if "missing date" not in line] == []


def completed(share, *words, directory=None):
    """What bash offers for the last of ``words``, as it calls a completion: readline splits at ``=``, too."""
    script = (
        'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); complete -p ulp >/dev/null || exit; _ulp;'
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    output = run("bash", "--norc", "-c", script, share / BASH, "ulp", *words, cwd=directory)
    return sorted(line for line in output.splitlines() if line)


def test_bash_completes_verbs_and_options(share):
    assert completed(share, "") == sorted(VERBS)
    assert completed(share, "di") == ["dispatch"]
    assert completed(share, "--") == ["--help", "--version"]
    for name, verb in VERBS.items():
        assert completed(share, name, "-") == sorted(verb.options)
        assert completed(share, name, "--js") == ["--json"]
    assert completed(share, "no-such-verb", "-") == []


def test_bash_completes_values(share, tmp_path):
    """Seen to fail with no regard to which of the options take a value: the PID behind -p counted as the file."""
    for name in ("a fix.ulp", "fix.dsc", "other.txt"):
        (tmp_path / name).touch()
    (tmp_path / "patches").mkdir()
    sleeper = subprocess.Popen(["/bin/sleep", "infinity"])
    try:
        pid = str(sleeper.pid)
        for words in (("trigger", "-p"), ("check", "--process"), ("check", "--process", "="), ("list",),
                      ("dispatch", "patch", "a fix.ulp"), ("dispatch", "check", "x.ulp", "1")):
            assert pid in completed(share, *words, pid[:-1]), words
            assert pid in completed(share, *words, pid), words
        assert completed(share, "list", "slee") == ["sleep"]
        for words in (("dump",), ("trigger", "-p", pid), ("explain", "--process", "=", pid),
                      ("dispatch", "--seccomp", "examine", "patch")):
            assert completed(share, *words, "", directory=tmp_path) == ["a fix.ulp", "patches"], words
    finally:
        sleeper.kill()
        sleeper.wait()
    assert completed(share, "pack", "fi", directory=tmp_path) == ["fix.dsc"]
    assert completed(share, "pack", "-o", "o", directory=tmp_path) == ["other.txt"]
    assert completed(share, "dispatch", "") == ["check", "patch", "revert"]
    assert completed(share, "dispatch", "patch", "--seccomp", "=", "a") == ["assume_errno"]
    assert completed(share, "dispatch", "patch", "--seccomp", "=") == ["assume_errno", "examine"]
    assert completed(share, "dump", "a.ulp", "") == []
    assert completed(share, "check", "--examine-timeout", "") == []


def test_bash_does_not_run_what_a_process_calls_itself(share, tmp_path):
    """Guards root, who completes a name: seen to fail with names among the words of ``compgen -W``."""
    trap = tmp_path / "trap"
    # 15 characters are what the kernel keeps.
    name = "$(>trap)"
    process = subprocess.Popen([sys.executable, "-c", (
        "import time\n"
        f"open('/proc/self/comm', 'w').write({name!r})\n"
        "print(flush=True)\n"
        "time.sleep(600)\n")], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        assert Path(f"/proc/{process.pid}/comm").read_text() == f"{name}\n"
        assert name not in completed(share, "list", "", directory=tmp_path)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert not trap.exists()


@pytest.mark.parametrize("shell, document, option", [("bash", BASH, "-n"), ("zsh", ZSH, "-n"),
                                                     ("fish", FISH, "--no-execute")])
def test_shells_can_read_them(share, shell, document, option):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} on this machine")
    run(shell, option, share / document)


# A shell on a terminal of its own: what was typed, after a tabulator, is what its widget shows.
ZSH_SESSION = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "fpath=($1 \$fpath); autoload -U compinit; compinit -u -D; bindkey '^I' complete-word
shown() { print -r -- \"<\$BUFFER>\"; BUFFER= }; zle -N shown; bindkey '^X' shown; print REA''DY"
zpty -r shell output '*READY*'
shift
for line; do
    zpty -w -n shell "$line"$'\t\C-x'
    zpty -r shell output '*<*>*'
    print -r -- "${${output##*<}%%>*}"
done
zpty -d shell
"""


def test_zsh_completes(share, tmp_path):
    if shutil.which("zsh") is None:
        pytest.skip("there is no zsh on this machine")
    (tmp_path / "fix.ulp").touch()
    lines = {
        "ulp li": "ulp list", "ulp list --wa": "ulp list --watch", "ulp dispatch re": "ulp dispatch revert",
        "ulp trigger --seccomp assu": "ulp trigger --seccomp assume_errno", "ulp dump f": "ulp dump fix.ulp",
    }
    output = run("zsh", "-f", "-c", ZSH_SESSION, "zsh", (share / ZSH).parent, *lines, cwd=tmp_path)
    assert [line.rstrip() for line in output.splitlines() if line] == list(lines.values())


def test_fish_completes(share):
    if shutil.which("fish") is None:
        pytest.skip("there is no fish on this machine")

    def offered(line):
        output = run("fish", "--no-config", "-c", f"source {share / FISH}; complete -C '{line}'",
                     env=dict(os.environ, TERM="dumb"))
        return [found.partition("\t")[0] for found in output.splitlines()]

    assert offered("ulp li") == ["list"]
    assert offered("ulp list --wa") == ["--watch"]
    assert "revert" in offered("ulp dispatch re")
    assert offered("ulp dispatch patch --seccomp a") == ["assume_errno"]
