# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which share of the functions of stock libraries can be diverted, and how."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("/usr/lib/x86_64-linux-gnu")
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
print(json.dumps({"functions": len(found), "best": best, "having": having, "refused": refused}))
"""


def measure_sites():
    """{library: numbers of its functions} for those that are installed."""
    measured = {}
    for name in LIBRARIES:
        if (FOLDER / name).exists():
            done = subprocess.run([sys.executable, "-c", SITES, ROOT, FOLDER / name], capture_output=True, text=True,
                                  check=False)
            if done.returncode:
                sys.exit(f"sites of {name}: {done.stderr.strip()}")
            measured[name] = json.loads(done.stdout)
    return measured


def print_sites(measured):
    """A line for each library: the best kind of its functions; behind it, how many have a site of each kind at all."""
    print(f"\n{'stock library, % of its functions':34} {'functions':>9}"
          + "".join(f" {kind:>6}" for kind in KINDS) + "   none" + "".join(f" {'has ' + kind:>9}" for kind in KINDS))
    for name in LIBRARIES:
        if name not in measured:
            print(f"{name:34} {'not installed':>9}")
            continue
        numbers = measured[name]
        total = numbers["functions"]
        shares = [100 * numbers["best"].get(kind, 0) / total for kind in KINDS]
        having = [100 * numbers["having"].get(kind, 0) / total for kind in KINDS]
        print(f"{name:34} {total:9}" + "".join(f" {share:6.1f}" for share in shares) + f" {100 - sum(shares):6.1f}"
              + "".join(f" {share:9.1f}" for share in having))
