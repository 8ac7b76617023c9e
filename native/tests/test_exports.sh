#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The runtime shows the documented symbol and interposes nothing; trm.o shows none at all.
set -eu
exported=$(nm -D --defined-only "$1" | awk '$2 != "A" { print $3 }')
if [ "$exported" != "ulp_state@@LIBPULP_1.0" ]; then
	echo "libpulp.so exports: $exported" >&2
	exit 1
fi
if nm --defined-only --extern-only "$2" | grep -q .; then
	echo "trm.o defines global symbols" >&2
	exit 1
fi
readelf -n "$2" | grep -q ulp
