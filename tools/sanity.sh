#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Run ansible-test sanity, all of it, on the collection in the current directory. Arguments go to ansible-test.
#
# ansible-test makes one virtual environment per test, under HOME, and fetches a pip bootstrap script from a host of
# its own for each. A HOME of our own keeps that out of the user's, and has a script there that does the same with the
# pip that Python brings along: so the package index is all that has to be reachable.
set -euo pipefail

checkout=$(cd "$(dirname "$0")/.." && pwd)
user_home=${HOME:-/root}
export HOME=$checkout/.venv/ansible-test
cache=$HOME/.ansible/test/cache
mkdir -p "$cache" "$HOME/.config"
if [ -d "$user_home/.config/pip" ]; then
	ln -sfn "$user_home/.config/pip" "$HOME/.config/pip"
fi

pip_versions=$("$checkout/.venv/bin/python" - <<'PYTHON'
import pathlib
import re

import ansible_test._internal.python_requirements as requirements

source = pathlib.Path(requirements.__file__).read_text()
print(*sorted(set(re.findall(r"pip='([0-9.]+)'", source))))
PYTHON
)
[ -n "$pip_versions" ] || { echo "this ansible-test does not say which pip it wants" >&2; exit 1; }
for version in $pip_versions; do
	cat > "$cache/get_pip_${version//./_}.py" <<'PYTHON'
import subprocess
import sys

subprocess.run([sys.executable, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
arguments = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.run([sys.executable, "-m", "pip", "install", "-q", *arguments]).returncode)
PYTHON
done

# The compile and import tests run under each Python that modules support and that the machine has. A command of that
# name may be a version manager's stand-in that only says that it is not installed, so try it.
interpreters=$HOME/interpreters
rm -rf "$interpreters"
mkdir -p "$interpreters"
for version in 3.8 3.9 3.10 3.11 3.12 3.13; do
	for python in "/usr/bin/python$version" "$(command -v "python$version" || true)" \
		"$user_home/.pyenv/versions/$version".*/bin/python"$version"; do
		if [ -x "$python" ] && "$python" -c 'import venv, ensurepip' 2>/dev/null; then
			ln -s "$python" "$interpreters/python$version"
			break
		fi
	done
done
export PATH=$interpreters:$checkout/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

exec "$checkout/.venv/bin/ansible-test" sanity --requirements --color no "$@"
