# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make what the scenarios bring to their hosts: artefacts.py DIRECTORY.

Debian's zlib, rebuilt to be livepatchable, two signed livepatches for it, and keys. What is there and was made from the
same sources is kept.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[2]
BUILD = CHECKOUT / "build"
sys.path.insert(0, str(CHECKOUT / "tests" / "integration"))

from harness.debian import fetch_source, run
from harness.variant import PADDING

LIBRARY = "libz.so.1"
FUNCTION = "deflateInit2_"
# The second is bad in that it does not compress at all.
LEVELS = {"good": 9, "bad": 0}
IDENTITY = "molecule@example.org"


def main(destination: Path) -> None:
    """Make everything in a directory that is missing there or was made from other sources."""
    destination.mkdir(parents=True, exist_ok=True)
    key(destination / "ssh_key")
    key(destination / "signing_key")
    public = (destination / "signing_key.pub").read_text()
    (destination / "allowed_signers").write_text(f"{IDENTITY} {public}")

    stamp = destination / "made-from"
    sources = digest()
    if stamp.exists() and stamp.read_text() == sources:
        return
    stamp.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        source = fetch_source("zlib", Path(scratch))
        shutil.copy(library(source), destination / LIBRARY)
        for name, level in LEVELS.items():
            shutil.copy(livepatch(source, name, level), destination)
    for name in LEVELS:
        sign(destination / f"{name}.ulp", destination / "signing_key")
    stamp.write_text(sources)


def digest() -> str:
    """Checksum of all that the artefacts are made from, but the distribution's source."""
    core = CHECKOUT / "plugins" / "module_utils"
    files = [*core.glob("elf/*.py"), *core.glob("livepatch/*.py"), *HERE.glob("*.c"), Path(__file__), BUILD / "trm.o"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()


def key(path: Path) -> None:
    """An ssh key without a passphrase, which nothing outside the containers trusts."""
    if not path.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", path])


def library(source: Path) -> Path:
    """The shared library with padding, entry tracking and a build ID, post-processed."""
    environment = {**os.environ, "CFLAGS": f"-O2 -g {PADDING}"}
    run(["./configure"], cwd=source, env=environment)
    linker = f"gcc -shared -Wl,-soname,{LIBRARY},--version-script,zlib.map -Wl,--build-id"
    run(["make", "-j2", f"LDSHARED={linker}", f"LDSHAREDLIBC=-lc {BUILD / 'trm.o'}", "shared"], cwd=source)
    built = (source / LIBRARY).resolve()
    ulp("post", built)
    return built


def livepatch(source: Path, name: str, level: int) -> Path:
    """A livepatch that makes the library compress at another level."""
    patch = source / f"{name}.so"
    # The library's own source is not ours to warn about.
    run(["gcc", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wl,--build-id", f"-DLEVEL={level}", f"-I{source}",
         "-o", patch, HERE / "patch.c"])
    description = source / f"{name}.dsc"
    description.write_text(f"{patch}\n@{(source / LIBRARY).resolve()}\n{FUNCTION}:livepatched_{FUNCTION}\n")
    ulp_file = source / f"{name}.ulp"
    # Copies of the library's functions, which have no variables: see patch.c.
    ulp("pack", description, "-o", ulp_file, "--allow-duplicate", "deflate*", "--allow-duplicate", "z*")
    return ulp_file


def sign(ulp_file: Path, signer: Path) -> None:
    ulp_file.with_suffix(".ulp.sig").unlink(missing_ok=True)
    ulp("sign", ulp_file, "-k", signer)


def ulp(*words: object) -> None:
    run([BUILD / "ulp", *words])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: artefacts.py DIRECTORY")
    try:
        main(Path(sys.argv[1]).resolve())
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"artefacts.py: {error}")
