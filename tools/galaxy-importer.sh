#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Run the checks that Ansible Galaxy makes of an upload: galaxy-importer.sh ARTEFACT. A warning is a failure.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: $0 libpulp-livepatch-VERSION.tar.gz" >&2; exit 2; }
artefact=$(realpath "$1")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cat >"$scratch/galaxy-importer.cfg" <<'END'
[galaxy-importer]
CHECK_REQUIRED_TAGS = True
CHECK_RUNTIME_DEPENDENCIES = True
CHECK_CHANGELOG = True
RUN_ANSIBLE_DOC = True
RUN_ANSIBLE_LINT = True
END
# It leaves the result in the current directory.
cd "$scratch"
unset ANSIBLE_CONFIG
if ! GALAXY_IMPORTER_CONFIG=galaxy-importer.cfg python -m galaxy_importer.main "$artefact" >said 2>&1 ||
	grep -E '^(WARNING|ERROR|CRITICAL)|Traceback' said >/dev/null || ! grep -q 'Importer processing completed successfully' said; then
	grep -v '^Loading ' said >&2
	exit 1
fi
echo "Galaxy would accept ${artefact##*/}."
