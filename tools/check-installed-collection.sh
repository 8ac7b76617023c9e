#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Check a collection that was installed from the built artefact: check-installed-collection.sh COLLECTIONS_PATH.
# Everything here must work from there alone, in a directory that is not the checkout.
set -euo pipefail

checkout=$(cd "$(dirname "$0")/.." && pwd)
collections=$(cd "$1" && pwd)
installed=$collections/ansible_collections/libpulp/livepatch
PATH=$checkout/.venv/bin:$PATH
unset ANSIBLE_CONFIG
export ANSIBLE_COLLECTIONS_PATH=$collections
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
cd "$elsewhere"

# Nothing of a working tree may have slipped in, and nothing that is needed may be missing.
expected="CHANGELOG.rst CODE_OF_CONDUCT.md CONTRIBUTING.md FILES.json LICENSES MANIFEST.json README.md SECURITY.md changelogs docs extensions meta native playbooks plugins roles tools"
for entry in "$installed"/*; do
	case " $expected " in
	*" ${entry##*/} "*) ;;
	*) echo "the artefact has ${entry##*/}, which does not belong there: see build_ignore in galaxy.yml" >&2; exit 1 ;;
	esac
done
if unwanted=$(find "$installed" -name '__pycache__' -o -name '.*' -o -name '*.so' -o -name '*.o' | grep .); then
	echo "the artefact has files that do not belong there: $unwanted" >&2
	exit 1
fi
for entry in meta plugins roles playbooks native docs changelogs LICENSES README.md; do
	[ -e "$installed/$entry" ] || { echo "the artefact lacks $entry" >&2; exit 1; }
done
# A filter's documentation is in a file of its own where one module brings several filters.
if foreign=$(find "$installed/plugins" -type f ! -name '*.py' ! -path '*/plugins/filter/*.yml' | grep .); then
	echo "plugins/ may hold nothing but Python and the documentation of filters: $foreign" >&2
	exit 1
fi

for module in ulp_build ulp_post ulp_pack ulp_sign ulp_dump ulp_dispatch ulp_check ulp_facts; do
	ansible-doc -t module "libpulp.livepatch.$module" >doc.txt
	grep -q -i "$module" doc.txt
done
for role in ulp_runtime ulp_preload ulp_livepatch prepare_library; do
	ansible-doc -t role "libpulp.livepatch.$role" >doc.txt
	grep -q "$role" doc.txt
done
for playbook in apply_livepatch revert_livepatch livepatch_status build_livepatch demo; do
	ansible-playbook --syntax-check -i localhost, "libpulp.livepatch.$playbook" >/dev/null
done

echo "The collection in $collections is complete: 8 modules, 4 roles and 5 playbooks found from there."
