#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Wait until the watch has asked nginx once more from begin to end, or has ended.
began=$(cat /run/watch/rounds || echo 0)
while systemctl --quiet is-active watch && [ "$(cat /run/watch/rounds || echo 0)" -lt $((began + 2)) ]; do
	sleep 0.1
done
