#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Print the Python that .venv is made with: 3.11 or newer (ansible-core 2.19 needs it), able to make one.
# The distribution's own comes first, whatever else stands first on PATH.
for python in /usr/bin/python3 python3.11 python3.12 python3.13 python3; do
	if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
		echo "$python"
		exit 0
	fi
done
echo "No Python 3.11 or newer with its venv module was found: install python3 and python3-venv." >&2
exit 1
