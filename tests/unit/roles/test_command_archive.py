# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command as one file: sources, byte code, and what it prints without importing anything."""

from __future__ import annotations

import re
import runpy
import signal
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from ansible_collections.libpulp.livepatch.plugins.module_utils.version import VERSION
from ansible_collections.libpulp.livepatch.roles.ulp_runtime.files.build_ulp import build

ROOT = Path(__file__).resolve().parents[3]
COMPILE = ROOT / "roles" / "ulp_runtime" / "files" / "compile_ulp.py"


@pytest.fixture(scope="module", name="sources")
def fixture_sources(tmp_path_factory):
    path = tmp_path_factory.mktemp("sources") / "ulp.zip"
    build(path)
    return path


def compiled(sources, output, *options):
    """What compile_ulp.py prints."""
    return subprocess.run(
        [sys.executable, COMPILE, *options, sources, output], check=True, capture_output=True, text=True
    ).stdout.strip()


def run(command, *arguments, **options):
    return subprocess.run(
        [sys.executable, *options.pop("flags", ()), command, *arguments], check=False, capture_output=True, text=True
    )


def test_one_version_everywhere():
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"] == VERSION
    assert re.search(r"version: '([^']+)'", (ROOT / "native" / "meson.build").read_text()).group(1) == VERSION


def test_compiled_once(sources, tmp_path):
    """Seen to fail with is_current() that takes any archive, and with one that takes none."""
    output = tmp_path / "ulp"
    assert compiled(sources, output, "--check") == "changed"
    assert not output.exists()
    assert compiled(sources, output) == "changed"
    assert output.stat().st_mode & 0o7777 == 0o755
    before = output.read_bytes()
    assert compiled(sources, output) == "unchanged"
    assert compiled(sources, output, "--check") == "unchanged"
    assert output.read_bytes() == before

    output.chmod(0o700)
    assert compiled(sources, output) == "changed"
    with zipfile.ZipFile(output, "a") as archive:
        archive.comment = b"of another interpreter"
    assert compiled(sources, output) == "changed"


def altered(archive, output, alter):
    """A copy of an archive whose members went through ``alter``, a function of name and contents."""
    with zipfile.ZipFile(archive) as before, zipfile.ZipFile(output, "w") as after:
        for name in before.namelist():
            after.writestr(name, alter(name, before.read(name)))
    return output


def without_sources(name, contents):
    return b"raise SystemExit('from source')" if name.endswith("main.py") else contents


def test_byte_code_is_what_runs(sources, tmp_path):
    """Seen to fail with an archive of sources alone, which Python compiles at each start."""
    compiled(sources, tmp_path / "ulp")
    alone = altered(tmp_path / "ulp", tmp_path / "alone", without_sources)
    done = run(alone, "list", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ulp list")


def test_byte_code_of_another_interpreter_is_left_alone(sources, tmp_path):
    """Seen to fail, with "bad marshal data", without the look at the magic number."""
    compiled(sources, tmp_path / "ulp")

    def foreign(name, contents):
        return b"\0\0\r\n" + contents[4:] if name in ("byte_code", "__main__.pyc") else contents

    other = altered(tmp_path / "ulp", tmp_path / "other", foreign)
    assert run(other, "list", "--help").stdout.startswith("usage: ulp list")
    broken = altered(other, tmp_path / "broken", without_sources)
    assert "from source" in run(broken, "list", "--help").stderr


def test_byte_code_is_mapped(sources, tmp_path):
    """The workers of a dispatch close all files and import; seen to fail with a file that is read when it is needed."""
    compiled(sources, tmp_path / "ulp")
    done = subprocess.run(
        [sys.executable, "-c", f"""
import os, runpy, sys
sys.argv = ["ulp", "--version"]
start = runpy.run_path({str(tmp_path / "ulp")!r}, run_name="ulp")
start["use_byte_code"].__globals__["__loader__"] = __import__("zipimport").zipimporter({str(tmp_path / "ulp")!r})
start["use_byte_code"]()
os.closerange(3, 4096)
os.rename({str(tmp_path / "ulp")!r}, {str(tmp_path / "other")!r})
from libpulp_livepatch.livepatch.description import parse_description
print(type(sys.modules["libpulp_livepatch.livepatch"].__loader__).__name__)
"""], check=False, capture_output=True, text=True,
    )
    assert (done.stdout, done.stderr) == ("Importer\n", "")


def test_tracebacks_show_the_source(sources, tmp_path):
    compiled(sources, tmp_path / "ulp")
    done = subprocess.run(
        [sys.executable, "-c", f"""
import runpy, sys, traceback
sys.argv = ["ulp", "--version"]
start = runpy.run_path({str(tmp_path / "ulp")!r}, run_name="ulp")
start["use_byte_code"].__globals__["__loader__"] = __import__("zipimport").zipimporter({str(tmp_path / "ulp")!r})
start["use_byte_code"]()
from libpulp_livepatch.livepatch.description import parse_description
try:
    parse_description(object())
except Exception:
    traceback.print_exc()
"""], check=True, capture_output=True, text=True,
    )
    assert "libpulp_livepatch/livepatch/description.py" in done.stderr
    assert done.stderr.count("\n    ") >= 2


def test_help_and_version_import_nothing_else(sources):
    """They are asked for by people who wait; seen to fail with the parser's own help."""
    for argument in ("--help", "-h", "--version"):
        done = run(sources, argument, flags=("-X", "importtime"))
        assert done.returncode == 0
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert {name for name in imported if name.startswith("libpulp_livepatch.")} <= {
            "libpulp_livepatch.help", "libpulp_livepatch.version",
        }
        assert not imported & {"argparse", "elftools", "ptrace"}
    assert run(sources, "--version").stdout == f"ulp {VERSION}\n"


def test_help_is_that_of_the_parser(sources, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    short = run(sources, "--help").stdout
    with_parser = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(sources)!r})\n"
         "from libpulp_livepatch.command.main import main\nsys.exit(main(['--help']))"],
        check=True, capture_output=True, text=True,
    ).stdout
    assert short == with_parser
    assert "dispatch" in short


def imported_by(command, *arguments):
    """The names of all modules that a run of the command imports, and its CompletedProcess."""
    done = run(command, *arguments, flags=("-IS", "-X", "importtime"))
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}, done


def test_verb_imports_only_what_it_needs(sources, tmp_path):
    """Seen to fail with all operations imported by Trigger, and with site.main() before every verb."""
    compiled(sources, tmp_path / "ulp")
    sleeper = subprocess.Popen(["/bin/sleep", "infinity"])
    try:
        listed, done = imported_by(tmp_path / "ulp", "list", "-p", str(sleeper.pid))
        assert f"{sleeper.pid} sleep" in done.stdout
    finally:
        sleeper.kill()
        sleeper.wait()
    checked, done = imported_by(tmp_path / "ulp", "check", "-p", "1", tmp_path / "none.ulp")
    assert "cannot read" in done.stderr
    for imported in (listed, checked):
        own = {name.partition(".")[2] for name in imported if name.startswith("libpulp_livepatch.")}
        assert not own & {
            "trigger.operations.apply", "trigger.operations.revert_all", "trigger.attaching.attach", "dispatch.all_of",
            "stock.sites",
        }
        assert not imported & {"site", "shutil", "elftools", "ptrace", "psutil"}
    assert not {"hashlib", "libpulp_livepatch.livepatch.livepatch"} & listed


def test_packages_of_others_are_known_to_the_start():
    """Guards verbs that need one: ulp runs without site (-S), and looks for these alone."""
    imports = re.compile(r"^\s*(?:from|import) ([a-z_0-9]+)", re.MULTILINE)
    core = ROOT / "plugins" / "module_utils"
    named = {name for path in core.rglob("*.py") for name in imports.findall(path.read_text())}
    python_s = set(sys.stdlib_module_names) | {"__future__"}
    words = {"others", "which", "that", "what", "a", "the"}  # lines of prose that begin so
    main = runpy.run_path(str(ROOT / "roles" / "ulp_runtime" / "files" / "ulp_main.py"), run_name="ulp")
    assert {name for name in named - python_s if find_spec(name) is not None} - words <= set(main["PACKAGES_OF_OTHERS"])


def test_output_is_whole_at_the_end(sources, tmp_path):
    """The interpreter is not taken apart; seen to fail, with nothing printed, without flushing what is buffered."""
    compiled(sources, tmp_path / "ulp")
    done = run(tmp_path / "ulp", "dispatch", "--help")
    assert done.stdout.rstrip().endswith("interrupted.") and "--wait-migrated" in done.stdout
    with open("/dev/full", "w", encoding="utf-8") as full:
        status = subprocess.run(
            [sys.executable, tmp_path / "ulp", "list", "--json"], check=False, stdout=full, stderr=subprocess.PIPE,
            text=True,
        )
        helped = subprocess.run([sys.executable, tmp_path / "ulp", "--help"], check=False, stdout=full)
    assert status.returncode == 1 and "No space left" in status.stderr
    assert helped.returncode == 1


def test_only_who_mistypes_waits_for_what_was_meant(sources):
    """Seen to fail with difflib imported where the parser is."""
    for arguments, status in ((("list", "--help"), 0), (("lst",), 2)):
        done = run(sources, *arguments, flags=("-X", "importtime"))
        assert done.returncode == status
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert ("difflib" in imported) == bool(status)


def test_interrupted_before_there_is_a_verb(tmp_path):
    """By Ctrl-C in the middle of an import.  Seen to fail: a traceback."""
    archive = tmp_path / "ulp.zip"
    with zipfile.ZipFile(archive, "w") as members:
        members.write(ROOT / "roles" / "ulp_runtime" / "files" / "ulp_main.py", "__main__.py")
        members.writestr("libpulp_livepatch/__init__.py", "")
        members.writestr("libpulp_livepatch/command/__init__.py", "")
        kill = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
        members.writestr("libpulp_livepatch/command/main.py", kill)
    done = run(archive, "list")
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
