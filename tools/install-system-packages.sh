#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Install the Debian packages that the given needs (see system-packages.txt) ask for.
# Does nothing, quickly, when all are there; as an ordinary user it says which are missing.
set -eu

[ $# -gt 0 ] || { echo "usage: $0 NEED..." >&2; exit 2; }
list=$(dirname "$0")/system-packages.txt

if ! command -v dpkg-query >/dev/null; then
	echo "This is not a Debian system: see in $list what is needed for $*, and install it yourself." >&2
	exit 0
fi

missing=
for need in "$@"; do
	# shellcheck disable=SC2013  # words on purpose: a while loop would set the variable in a subshell
	for package in $(awk -v need="$need" '$1 == need { print $2 }' "$list"); do
		case " $missing " in *" $package "*) continue ;; esac
		status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || status=
		[ "$status" = installed ] || missing="$missing $package"
	done
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "These packages are missing; install them as root: apt-get install$missing" >&2
	exit 1
fi
echo "Installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o DPkg::Lock::Timeout=300 update </dev/null
# shellcheck disable=SC2086  # a list of words on purpose
apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends $missing </dev/null
