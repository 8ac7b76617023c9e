# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which share of the functions of stock libraries can be diverted, and how: of this machine, and of Debian 13.

Debian 12 is built without control-flow protection.  In Debian 13 nearly every function begins with endbr64.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("/usr/lib/x86_64-linux-gnu")
DEBIAN_13 = "trixie"
PACKAGES = ("zlib1g", "libexpat1", "libxml2", "libnghttp2-14", "libcurl4t64", "libssl3t64", "libc6")
MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Seconds until apt gives up.
PATIENCE = 300
LIBRARIES = ("libz.so.1", "libexpat.so.1", "libxml2.so.2", "libnghttp2.so.14", "libcurl.so.4", "libssl.so.3",
             "libcrypto.so.3", "libc.so.6")
KINDS = ("pun", "wide", "short")

# The best kind of each function, and whether it has others; without a site, the refusal without what is different in
# each.
SITES = """
import collections, json, re, sys
sys.path.insert(0, sys.argv[1])
from plugins.module_utils.elf.image import ElfImage
from plugins.module_utils.stock.sites import SiteFinder
image = ElfImage.open(sys.argv[2])
finder = SiteFinder(image, image.symbols() + image.dynamic_symbols())
found = finder.find(extent.start for extent in finder.code.extents)
best, having, refused = collections.Counter(), collections.Counter(), collections.Counter()
for each in found.values():
    if each.sites:
        best[each.sites[0].kind] += 1
        having.update({site.kind for site in each.sites})
    else:
        refused[re.sub(r"0x[0-9a-f]+|, at .*|[(].*?[)] ", "", each.refusal)] += 1
protected = sum(image.read(address, 4) == b"\\xf3\\x0f\\x1e\\xfa" for address in found)
print(json.dumps({
    "functions": len(found), "best": best, "having": having, "refused": refused, "endbr64": protected}))
"""


def measure_sites(folder=FOLDER, libraries=LIBRARIES):
    """{library: numbers of its functions} for those that are in ``folder``; None: there is no folder."""
    if folder is None:
        return None
    measured = {}
    for name in libraries:
        if (folder / name).exists():
            done = subprocess.run([sys.executable, "-c", SITES, ROOT, folder / name], capture_output=True, text=True,
                                  check=False)
            if done.returncode:
                sys.exit(f"sites of {name}: {done.stderr.strip()}")
            measured[name] = json.loads(done.stdout)
    return measured


def measure_debian_13():
    """The same for the libraries of Debian 13, which are fetched and unpacked, not installed; None: nobody answers."""
    with tempfile.TemporaryDirectory() as directory:
        return measure_sites(_debian_13(Path(directory)))


def _debian_13(directory):
    """The folder with the libraries of Debian 13, as its archive has signed them, or None."""
    apt = directory / "apt"
    (apt / "lists/partial").mkdir(parents=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {DEBIAN_13} main\n")
    settings = {
        "Dir::Etc::sourcelist": apt / "sources.list", "Dir::Etc::sourceparts": "-", "Dir::State": apt,
        "Dir::State::status": apt / "status", "Dir::Cache": apt, "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root", "Acquire::Languages": "none", "Acquire::Retries": "0",
        # Otherwise what could not be fetched is only warned of.
        "APT::Update::Error-Mode": "any",
    }
    command = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items())]
    try:
        for words in (["update"], ["download", *PACKAGES]):
            subprocess.run([*command, *words], cwd=directory, check=True, capture_output=True, text=True,
                           timeout=PATIENCE)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"\nDebian 13 is left out: {getattr(error, 'stderr', None) or error}".rstrip())
        return None
    root = directory / "root"
    for package in sorted(directory.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    return root / FOLDER.relative_to("/")


def print_sites(measured, where="this machine"):
    """A line for each library: the best kind of its functions; behind it, how many have a site of each kind at all.

    :param where: whose libraries they are.
    """
    if measured is None:
        return
    print(f"\n{'of ' + where + ', % of the functions':34} {'functions':>9}"
          + "".join(f" {kind:>6}" for kind in KINDS) + "   none" + "".join(f" {'has ' + kind:>9}" for kind in KINDS)
          + "   endbr64")
    for name in LIBRARIES:
        if name not in measured:
            print(f"{name:34} {'not there':>9}")
            continue
        numbers = measured[name]
        total = numbers["functions"]
        shares = [100 * numbers["best"].get(kind, 0) / total for kind in KINDS]
        having = [100 * numbers["having"].get(kind, 0) / total for kind in KINDS] + [100 * numbers["endbr64"] / total]
        print(f"{name:34} {total:9}" + "".join(f" {share:6.1f}" for share in shares) + f" {100 - sum(shares):6.1f}"
              + "".join(f" {share:9.1f}" for share in having))
