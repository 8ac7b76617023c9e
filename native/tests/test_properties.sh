#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The runtime and trm.o are fit for indirect branch tracking and shadow stacks, and a library that is
# linked with trm.o stays so.  Seen to fail with trm.S compiled without -fcf-protection.
set -eu
runtime=$1 trm=$2
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

expect_properties() {
	if ! readelf -n "$1" | grep -q 'x86 feature: IBT, SHSTK'; then
		echo "$1 is not marked for IBT and SHSTK" >&2
		readelf -n "$1" >&2
		exit 1
	fi
}

expect_properties "$runtime"
expect_properties "$trm"
echo 'int answer(void) { return 1; }' >"$directory/library.c"
cc -fPIC -fcf-protection=full -O2 -c "$directory/library.c" -o "$directory/library.o"
# The files that a compiler adds by itself have no such mark everywhere.
link() {
	name=$1
	shift
	cc -shared -nostartfiles -nostdlib "$@" "$directory/library.o" "$trm" -o "$directory/$name.so"
	expect_properties "$directory/$name.so"
}
link bfd -fuse-ld=bfd -Wl,-z,cet-report=error
if command -v ld.lld >/dev/null; then
	link lld -fuse-ld=lld -Wl,-z,force-ibt,-z,shstk,--fatal-warnings
fi
