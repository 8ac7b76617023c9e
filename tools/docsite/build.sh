#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Build the site: docsite/build.sh COLLECTIONS_PATH DIRECTORY. The pages are in DIRECTORY/html then.
# A warning is an error. Nothing is asked of the network.
set -euo pipefail

sources=$(cd "$(dirname "$0")" && pwd)
collections=$(cd "$1" && pwd)
collection=$collections/ansible_collections/libpulp/livepatch
rm -rf "$2"
# antsibull-docs writes into a directory only if nobody else may.
install -d -m 755 "$2" "$2/rst" "$2/rst/docs" "$2/rst/playbooks"
site=$(cd "$2" && pwd)
export ANSIBLE_COLLECTIONS_PATH=$collections
unset ANSIBLE_CONFIG

cp "$sources/index.rst" "$site/rst/"
cp "$collection"/docs/*.md "$collection"/docs/*.svg "$collection"/docs/*.json "$site/rst/docs/"
cp -R "$collection/playbooks/inventory-example" "$site/rst/playbooks/"
antsibull-docs collection --use-current --fail-on-error --no-indexes --dest-dir "$site/rst" libpulp.livepatch
sphinx-build -q -W --keep-going -c "$sources" -d "$site/doctrees" -b html "$site/rst" "$site/html"
echo "The site is in $2/html: begin with index.html."
