# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build livepatches of the fixes in fixes.txt, and print what came of each.

Each package is built once, without any of the fixes listed for it; then each fix is made into a livepatch of that
library and proved on a trial process.  Where own_tests.txt has a command for the package, it runs under each livepatch,
and the table says in how many processes of it new code was executed.

Results are kept, so that an aborted run goes on where it was; a fix is tried again when the command, the list or the
fix has changed.  Exit status 1: a fix has another verdict than verdicts.txt says, or its tests have.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
BUILD = CHECKOUT / "build"
FIXES = HERE / "fixes.txt"
VERDICTS = HERE / "verdicts.txt"
OWN_TESTS = HERE / "own_tests.txt"
CACHE = Path(os.environ.get("ULP_PACKAGES_CACHE") or Path.home() / ".cache" / "ulp" / "packages")
SECONDS = 3600
HEADINGS = ("package", "version", "fix", "functions", "verdict", "seconds", "own tests")
NOT_RUN = "not run"
# Left out of verdicts.txt.
NO_TESTS = "-"
# The step of `ulp build` in which they run, and what it says where they fail.
TESTING = "run the test under the livepatch"
UNCONCERNED = "says nothing about the livepatch"


class Fix(NamedTuple):
    """One line of the list.

    ``patches`` belong together; ``base`` are all that are left out of the package's build: all that are listed for it,
    or for a fix that is marked ``in-order``, since it applies to earlier ones alone, itself and those behind it.
    ``tests`` is the command of own_tests.txt, empty where the package has none.
    """

    package: str
    version: str
    patches: tuple[str, ...]
    base: tuple[str, ...]
    tests: str

    @property
    def name(self) -> str:
        return "+".join(self.patches)


class Outcome(NamedTuple):
    """What came of one fix.

    ``verdict``: built, or refused or failed and why; ``functions`` replaced; ``tests``: what came of the package's own
    under the livepatch, ``-`` where none ran; ``seconds`` beyond the first build, without the tests.
    """

    verdict: str
    functions: list[str]
    seconds: float
    tests: str = NO_TESTS


def read_fixes() -> list[Fix]:
    rows: list[tuple[str, str, tuple[str, ...], bool]] = []
    for line in FIXES.read_text(encoding="utf-8").splitlines():
        words = line.partition("#")[0].split()
        if words:
            rows.append((words[0], words[1], tuple(words[2].split("+")), words[3:] == ["in-order"]))
    tests = read_own_tests()
    fixes = []
    for position, (package, version, patches, in_order) in enumerate(rows):
        others = rows[position:] if in_order else rows
        fixes.append(Fix(package, version, patches, tuple(dict.fromkeys(
            each for other, other_version, more, _in_order in others if (other, other_version) == (package, version)
            for each in more)), tests.get(package, "").replace("{fix}", "+".join(patches))))
    # Those of one base follow each other: a package is built anew for another one.
    first = {each.package: position for position, each in reversed(list(enumerate(fixes)))}
    return sorted(fixes, key=lambda fix: (first[fix.package], -len(fix.base)))


def read_own_tests() -> dict[str, str]:
    """{package: command}; ``{packages}`` in one stands for this directory, ``{fix}`` is left for the fix's name."""
    lines = OWN_TESTS.read_text(encoding="utf-8").splitlines()
    rows = [line.split(None, 1) for line in lines if line.strip() and not line.startswith("#")]
    return {package: command.strip().replace("{packages}", str(HERE)) for package, command in rows}


def read_verdicts() -> dict[tuple[str, str, str], list[str]]:
    """{(package, version, fix): the row}."""
    found = {}
    if VERDICTS.exists():
        for line in VERDICTS.read_text(encoding="utf-8").splitlines():
            row = [cell.strip() for cell in line.split("|")]
            if len(row) == len(HEADINGS) - 1:
                row.append(NO_TESTS)
            if len(row) == len(HEADINGS) and row[0] != HEADINGS[0] and not line.startswith("#"):
                found[row[0], row[1], row[2]] = row
    return found


def source_directory(fix: Fix) -> Path:
    return CACHE / f"{fix.package}_{fix.version.replace(':', '_')}"


def attempt(fix: Fix) -> Outcome:
    """Build one; a result that is kept is taken for it."""
    built_with = [hashlib.sha256((BUILD / name).read_bytes()).hexdigest() for name in ("ulp.zip", "libpulp.so")]
    # A script has what it compiles beside it, under its own name.
    programs = [path.read_bytes() for path in sorted((HERE / "own").iterdir()) if f"own/{path.stem}." in fix.tests]
    key = hashlib.sha256(repr((fix, built_with, programs)).encode()).hexdigest()
    kept = CACHE / "results" / f"{key}.json"
    if kept.exists():
        return Outcome(**json.loads(kept.read_text(encoding="utf-8")))
    work = source_directory(fix)
    command = [sys.executable, str(BUILD / "ulp"), "build", "--debian", f"{fix.package}={fix.version}", "--work",
               str(work), "--runtime", str(BUILD / "libpulp.so"), "--json", "-o",
               str(CACHE / "out" / fix.package / fix.name.replace("/", "_"))]
    for patch in fix.base:
        if not (HERE / "diffs" / patch).exists():
            command += ["--without-patch", patch]
    for patch in fix.patches:
        # Debian has no patch for some packages that are worth trying.
        own = HERE / "diffs" / patch
        command += ["--diff", str(own) if own.exists() else patch]
    if fix.tests:
        command += ["--test", fix.tests]
    if os.geteuid() == 0:
        command.append("--as-root")
    try:
        # Without 32-bit libraries, which nothing here is for.
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS,
                              check=False, env={**os.environ, "DEB_BUILD_PROFILES": "nobiarch"})
    except subprocess.TimeoutExpired:
        return Outcome(f"failed: took longer than {SECONDS} s", [], SECONDS)
    # The reason stands behind the command, which may be long.
    errors = done.stderr.replace(repr(fix.tests), "of the package") if fix.tests else done.stderr
    outcome = understood(done.returncode, done.stdout, errors)
    if fix.tests and UNCONCERNED in outcome.tests:
        # They run another library of the package.
        outcome = attempt(fix._replace(tests=""))
    if not outcome.verdict.startswith(NOT_RUN):
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(outcome._asdict()), encoding="utf-8")
    return outcome


def understood(status: int, output: str, errors: str) -> Outcome:
    """What the command's answer means."""
    lines = errors.splitlines()
    steps = [(float(line.split()[2]), line.split(" s  ", 1)[1]) for line in lines if line.startswith("ulp build: ")]
    start = next((seconds for seconds, step in steps if step == "apply the diff"), None)
    end = next((seconds for seconds, step in steps if step == TESTING), steps[-1][0] if steps else 0.0)
    seconds = round(end - start, 1) if start is not None else 0.0
    messages = [line[len("ulp: "):] for line in lines if line.startswith("ulp: ")]
    try:
        fields = json.loads(output)
    except ValueError:
        message = messages[-1] if messages else (lines[-1] if lines else f"status {status}")
        if "not installed" in message or "cannot fetch" in message:
            return Outcome(f"{NOT_RUN}: {shortened(message)}", [], 0.0)
        if "changes no code or data" in message:
            return Outcome("refused: no change", [], seconds)
        if steps and steps[-1][1] == TESTING:
            # It was built and proved by then; only the answer does not say of what.
            return Outcome("built", [], seconds, f"failed: {shortened(message)}")
        return Outcome(f"failed: {shortened(message)}", [], seconds)
    functions = sorted({each["name"] for target in fields["targets"] for each in target.get("functions", ())})
    if fields["refused"]:
        kinds = sorted({f"{each['kind']} {each['name']}" for each in fields["refused"]})
        return Outcome(f"refused: {shortened(', '.join(kinds))}", functions, seconds)
    proved = all(target["proof"] or not target["name"].count(".so") for target in fields["targets"])
    test = fields["test"]
    tests = NO_TESTS
    if test:
        reached = "unknown how many" if test["reached"] is None else test["reached"] or "none"
        tests = f"passed, {test['patched']} of {test['processes']} processes patched, {reached} reached new code"
    return Outcome("built" if proved else "built, not proved", functions, seconds, tests)


def shortened(text: str) -> str:
    text = " ".join(text.replace("|", "/").split())
    return text if len(text) <= 160 else text[:157] + "..."


def row_of(fix: Fix, outcome: Outcome) -> list[str]:
    more = f" and {len(outcome.functions) - 4} more" if len(outcome.functions) > 4 else ""
    functions = ", ".join(outcome.functions[:4]) + more
    return [fix.package, fix.version, fix.name, functions or "-", outcome.verdict,
            f"{outcome.seconds:g}", outcome.tests]


def show(row: list[str]) -> None:
    print(" | ".join(row), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--package", metavar="NAME", action="append", help="only this one; may be given several times")
    parser.add_argument("--fix", metavar="TEXT", action="append",
                        help="only fixes with this in their name; may be given several times")
    parser.add_argument("--record", action="store_true", help="write what was seen to verdicts.txt")
    parser.add_argument("--keep", action="store_true", help="keep the build trees")
    arguments = parser.parse_args()
    fixes = read_fixes()
    known = read_verdicts()
    seen: dict[tuple[str, str, str], list[str]] = {}
    start = time.monotonic()
    show(list(HEADINGS))
    wanted = [fix for fix in fixes if (not arguments.package or fix.package in arguments.package)
              and (not arguments.fix or any(text in fix.name for text in arguments.fix))]
    for position, fix in enumerate(wanted):
        row = row_of(fix, attempt(fix))
        seen[fix.package, fix.version, fix.name] = row
        show(row)
        last = position + 1 == len(wanted) or wanted[position + 1].package != fix.package
        if last and not arguments.keep:
            shutil.rmtree(source_directory(fix), ignore_errors=True)
    verdicts = [row[4].partition(":")[0].partition(",")[0] for row in seen.values()]
    counts = ", ".join(f"{verdicts.count(each)} {each}" for each in sorted(set(verdicts)))
    print(f"{len(seen)} fixes in {time.monotonic() - start:.0f} s: {counts}")
    if arguments.record:
        record(fixes, {**known, **seen})
        return 0
    different = [key for key, row in seen.items() if not row[4].startswith(NOT_RUN)
                 and key in known and not known[key][4].startswith(NOT_RUN) and differs(known[key], row)]
    for key in different:
        print(f"{' '.join(key)}: was {known[key][4]!r}, tests {known[key][6]!r}; is {seen[key][4]!r}, tests"
              f" {seen[key][6]!r}")
    return 1 if different else 0


def differs(known: list[str], row: list[str]) -> bool:
    """Whether the verdict or the end of the tests is another; how many processes these have is their own affair.

    Tests of which nothing was known yet may pass.
    """
    before, now = (each[6].partition(",")[0].partition(":")[0] for each in (known, row))
    return known[4] != row[4] or (before != now and (before, now) != (NO_TESTS, "passed"))


def record(fixes: list[Fix], rows: dict[tuple[str, str, str], list[str]]) -> None:
    lines = ["# What `make check-packages` saw last; seconds are those beyond the package's own first build.",
             "# Without the last column, what is built was applied, checked and reverted in a trial process; no test",
             "# has called it. Where the column does not tell how many processes reached new code, nobody has counted.",
             " | ".join(HEADINGS)]
    for fix in fixes:
        row = rows.get((fix.package, fix.version, fix.name)) or [
            fix.package, fix.version, fix.name, "-", NOT_RUN, "0", NO_TESTS]
        lines.append(" | ".join(row[:-1] if row[-1] == NO_TESTS else row))
    VERDICTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
