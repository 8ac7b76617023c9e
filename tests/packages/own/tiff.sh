#!/bin/sh
# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# What the fix is for, and some of libtiff's tests and tools. $1: the fix.
set -e
here=$(cd "$(dirname "$0")" && pwd)
top=$PWD
rm -rf own
mkdir own
env -u LD_PRELOAD gcc -I libtiff -o own/program "$here/tiff.c" libtiff/.libs/libtiff.so -lm
cd own

# Without the gate nothing is patched.
both() {
    tool=$1
    shift
    env -u LD_PRELOAD "$top/tools/.libs/$tool" "$@" plain.tif 2>plain.log
    "$top/tools/.libs/$tool" "$@" patched.tif 2>patched.log
    cmp plain.tif patched.tif
    rm plain.tif patched.tif
}

case $1 in
    CVE-2023-26965.patch | CVE-2023-25433.patch)
        # The next image may need more room than the one before it.
        env -u LD_PRELOAD ./program make
        for how in '' '-R 90' '-R 180' '-R 270' '-F both' '-z 1,1,20,15' '-R 90 -z 1,1,20,15:3,3,22,17 -E right' \
            '-U px -m 2,2,2,2' '-E top -Z 1:3,2:3'; do
            # shellcheck disable=SC2086
            both tiffcrop $how two.tif
        done
        ;;
    CVE-2023-40745.patch)
        # Where a row of tiles is longer than one of the image, there was room for the former only by chance.
        env -u LD_PRELOAD ./program make
        both tiffcp -p contig wide.tif
        env -u LD_PRELOAD "$top/tools/.libs/tiffcp" -p contig narrow.tif plain.tif
        ! "$top/tools/.libs/tiffcp" -p contig narrow.tif patched.tif 2>patched.log || exit 1
        grep -q 'scan line size is too large' patched.log
        ;;
    CVE-2023-2908.patch | CVE-2026-4775.patch | *harmless*)
        # Nobody can see the difference, or only with an image of gigabytes.
        ./program "$1"
        ;;
    *)
        ./program "$1"
        ! env -u LD_PRELOAD ./program "$1" || exit 1
        ;;
esac

cd "$top/test"
programs="strip_rw test_directory"
# shellcheck disable=SC2086
env -u LD_PRELOAD make $programs >../own/make.log 2>&1
for program in $programs; do
    ".libs/$program"
done
# The tools themselves, not the scripts that libtool puts before them.
sed "s|^TOOLS=.*|TOOLS=$top/tools/.libs|" common.sh >../own/common.sh
ln -s ../test/images ../own/images
export srcdir=../own
for test in tiffcp-lzw-compat tiffcp-logluv tiff2rgba-rgb-3c-8b tiff2rgba-quad-tile.jpg tiffcrop-R90-rgb-3c-8b; do
    sh $test.sh
done
