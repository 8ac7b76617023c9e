#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Run a command in a PID namespace of its own: apart.sh COMMAND [ARGUMENT...]
# Some tests look at every process of the host, and patch those that have loaded the target. So they can neither meet what
# another run of the tests has started, nor the other way round. As a user, who can't make a namespace, just run it.
set -euo pipefail

[ "$(id -u)" -eq 0 ] || exec "$@"
# The shell stays, as the namespace's first process: somebody must reap what its parent left behind.
# shellcheck disable=SC2016
exec unshare --pid --fork --mount-proc --kill-child bash -c '"$@"; exit "$?"' apart "$@"
