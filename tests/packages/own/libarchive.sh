#!/bin/sh
# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# libarchive's tests of the formats that the fix is for, with those that the fix brings along. They are compiled anew,
# since as libarchive builds them they contain a copy of the library. What libarchive.c has for the fix runs first; it
# fails without the livepatch. $1: the fix.
set -e
here=$(cd "$(dirname "$0")" && pwd)
patches=$(echo "$1" | sed 's|^|debian/patches/|; s|+| debian/patches/|g')
rm -rf own
mkdir -p own/libarchive own/run
cp -r libarchive/test own/libarchive/test
for patch in $patches; do
    # Only the tests are here.
    patch -s -f -p1 -d own <"$patch" >own/patch.log 2>&1 || true
done

env -u LD_PRELOAD gcc -w -I libarchive -o own/program "$here/libarchive.c" .libs/libarchive.so.13
(
    cd own/run
    case $1 in *rar* | CVE-2025-5915.patch) python3 "$here/libarchive.py" "$1" ;; esac
    ../program "$1"
    ! env -u LD_PRELOAD timeout 60 ../program "$1" differs
) >own/program.log 2>&1

# shellcheck disable=SC2086
formats=$(sed -n 's|^+++ .*/archive_\([a-z]*\)_s.*_format_\([a-z]*\).*\.c.*|test_\1_format_\2|p' $patches)
# shellcheck disable=SC2086
brought=$(sed -n 's|^+DEFINE_TEST(\(.*\)).*|\1|p' $patches)
cd own/libarchive/test
for format in $formats; do
    ls "$format"*.c
done | sort -u >../../sources
# shellcheck disable=SC2046
grep -h '^DEFINE_TEST' $(cat ../../sources) >list.h
# shellcheck disable=SC2046
env -u LD_PRELOAD gcc -w -DHAVE_CONFIG_H -I. -I../../.. -I../../../libarchive -I../../../test_utils -o ../../tests \
    $(cat ../../sources) ../../../test_utils/test_main.c ../../../test_utils/test_utils.c read_open_memory.c \
    ../../../.libs/libarchive.so.13 -lz -lacl
cd ../../run
TMPDIR=$PWD ../tests -r "$PWD/../libarchive/test"
# Those that the fix brings along fail without it, or never end. (What one is for, only a sanitizer sees.)
[ "$1" != CVE-2025-5915.patch ] || exit 0
for test in $brought; do
    ! TMPDIR=$PWD env -u LD_PRELOAD timeout 20 ../tests -r "$PWD/../libarchive/test" "$test" || exit 1
done
