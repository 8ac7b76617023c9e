#!/bin/sh
# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# OpenJPEG's own tests need images that its source does not have. Its compressor and decompressor use the shared
# library: what was compressed without loss comes back as it was, in each order of packets, with tiles, and with a list
# of the lengths of tile parts.
set -e
cd obj-*/bin
python3 -c '
import sys
rows = [(x * y % 251, (x + 2 * y) % 256, (x ^ y) % 256) for y in range(120) for x in range(150)]
sys.stdout.buffer.write(b"P6\n150 120\n255\n" + bytes(value for row in rows for value in row))' >own.ppm
tail -c 54000 own.ppm >own.raw
for order in LRCP RLCP RPCL PCRL CPRL; do
    for more in '' '-t 64,64' '-TLM -t 50,70' '-n 1 -b 16,16'; do
        # shellcheck disable=SC2086
        ./opj_compress -i own.ppm -o own.j2k -p $order $more >own.log
        ./opj_decompress -i own.j2k -o back.ppm >own.log
        tail -c 54000 back.ppm | cmp - own.raw
    done
done
# With loss it is about the same.
./opj_compress -i own.ppm -o own.jp2 -I -r 2 >own.log
./opj_decompress -i own.jp2 -o back.ppm >own.log
python3 -c '
before, after = (open(name, "rb").read()[-150 * 120 * 3:] for name in ("own.ppm", "back.ppm"))
assert sum(abs(a - b) for a, b in zip(before, after)) / len(before) < 20'
