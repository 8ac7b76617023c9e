# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Source packages of the distribution, fetched without a change to the machine's own apt."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

TIMEOUT = 300


def run(command, **options) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT, **options)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}"
    return done.stdout


def source_lines() -> list[str]:
    """A deb-src line for every Debian archive that the machine gets packages from."""
    targets = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)",
                   "Created-By: Packages"])
    fields = [line.split() for line in targets.splitlines()]
    # In apt's order: of the archives that have a version, it asks the first.
    lines = list(dict.fromkeys("deb-src " + " ".join(words[:3]) for words in fields if words[3:] == ["Debian"]))
    assert lines, f"no Debian archive is configured, says apt-get indextargets: {targets!r}"
    return lines


def fetch_source(package: str, directory: Path) -> Path:
    """The unpacked and patched source of a package, below ``directory``; apt's state is kept there too."""
    for name in ("lists/partial", "archives/partial", "source"):
        (directory / name).mkdir(parents=True)
    (directory / "sources.list").write_text("\n".join(source_lines()) + "\n")
    options = {
        "Dir::Etc::sourcelist": directory / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": directory / "lists",
        "Dir::Cache": directory,
        "Dir::Cache::archives": directory / "archives",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    if os.geteuid() == 0:
        # The user _apt may not enter a private directory.
        options["APT::Sandbox::User"] = "root"
    apt = ["apt-get", "-q"]
    for name, value in options.items():
        apt += ["-o", f"{name}={value}"]
    run([*apt, "update"])
    run([*apt, "source", package], cwd=directory / "source")
    (unpacked,) = (path for path in (directory / "source").iterdir() if path.is_dir())
    return unpacked
