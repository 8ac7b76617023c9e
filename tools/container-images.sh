#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Make images of Debian with systemd from Debian's own packages, no registry needed, and a configuration for podman.
#   container-images.sh DIRECTORY [VERSION[-ready]...]     for example: container-images.sh build/containers 12 13-ready
# Writes DIRECTORY/containers.conf, for CONTAINERS_CONF, and makes the images localhost/debian-systemd:VERSION that are
# missing or were made by another recipe. Those with -ready also have the packages that the role ulp_runtime installs.
set -euo pipefail

# A plain server, reached by ssh as any other, with the service that is patched. No compiler.
packages=systemd,systemd-sysv,dbus,python3,python3-apt,ca-certificates,procps,openssh-server,nginx
core=python3-pyelftools,python3-ptrace

fail() {
	echo "$*" >&2
	exit 1
}

[ $# -ge 1 ] || {
	echo "usage: $0 DIRECTORY [VERSION[-ready]...]" >&2
	exit 2
}
directory=$1
shift
[ "$(id -u)" -eq 0 ] || fail "Containers that run systemd and ptrace are made as root here: run it as root."
for program in podman runc mmdebstrap; do
	command -v "$program" >/dev/null || fail "$program is missing: install it (tools/system-packages.txt, need containers)."
done

# runc, as crun refuses a machine whose cgroup hierarchy is hybrid. Limits as high as may be set: podman's own defaults
# are higher, and setting those fails where CAP_SYS_RESOURCE is missing.
mkdir -p "$directory"
files=$(ulimit -Hn)
[ "$files" != unlimited ] || files=1048576
configuration=$(mktemp "$directory/XXXXXX")
cat >"$configuration" <<END
[engine]
runtime = "runc"
[containers]
default_ulimits = ["nofile=$files:$files", "nproc=32768:32768"]
END
# A podman that starts in this moment reads the one or the other.
mv "$configuration" "$directory/containers.conf"
export CONTAINERS_CONF="$directory/containers.conf"

scratch=
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM
for version in "$@"; do
	case ${version%-ready} in
	12) suite=bookworm ;;
	13) suite=trixie ;;
	*) fail "$version is not a version of Debian that is known here: say 12 or 13." ;;
	esac
	include=$packages
	[ "$version" = "${version%-ready}" ] || include=$include,$core
	image=localhost/debian-systemd:$version
	recipe=$(printf '%s' "$suite $include" | sha256sum | cut -c 1-16)
	made=$(podman image inspect --format '{{ index .Labels "recipe" }}' "$image" 2>/dev/null) || made=
	if [ "$made" != "$recipe" ]; then
		echo "Making the image $image"
		scratch=$(mktemp -d)
		mmdebstrap --quiet --variant=minbase --include="$include" --aptopt='Acquire::Retries "3"' "$suite" "$scratch/root.tar" ||
			fail "mmdebstrap could not make a Debian $suite: see its messages above."
		podman import --quiet --change 'CMD ["/sbin/init"]' --change 'STOPSIGNAL SIGRTMIN+3' --change 'ENV container=podman' \
			--change "LABEL recipe=$recipe" "$scratch/root.tar" "$image" >/dev/null ||
			fail "podman could not import $image: see its message above."
		rm -rf "$scratch"
		scratch=
	fi
	podman run --rm --network=none "$image" true </dev/null ||
		fail "podman can't run a container of $image on this machine: see its message above. Without containers these tests can't pass."
done
