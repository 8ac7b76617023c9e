#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The runtime imports what imports.txt says and gives reasons for, no more and no less.
# Seen to fail with errno used in state.c: __errno_location.
set -eu
library=$1
allowed=$(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$2" | sort)
imported=$(nm -D --undefined-only "$library" | awk '{ sub("@.*", "", $2); print $2 }' | sort)
if [ "$imported" != "$allowed" ]; then
	echo "imports.txt says:" >&2
	echo "$allowed" >&2
	echo "$library imports:" >&2
	echo "$imported" >&2
	exit 1
fi
