#!/bin/sh
# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# nghttp2's unit tests are linked to a static copy of the library, and its tests between processes are written in Go.
# Its own server, its client and its load generator use the shared library, as does its compressor of headers.
set -e
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
site="http://127.0.0.1:$port"
src/.libs/nghttpd --no-tls -a 127.0.0.1 -d . "$port" &
server=$!
trap 'kill $server' EXIT
until src/.libs/nghttp "$site/README.rst" 2>/dev/null | cmp -s - README.rst; do
    kill -0 $server
    sleep 0.1
done
# What it serves is the file, with headers of many kinds and sizes, by one stream and by many, and what is not there is
# said to be missing.
for header in 'x-one: 1' "x-long: $(head -c 3000 /dev/zero | tr '\0' a)" 'cookie: a=b; c=d'; do
    src/.libs/nghttp -H "$header" "$site/README.rst" | cmp - README.rst
done
src/.libs/nghttp -nv "$site/no-such-file" | grep -q ':status: 404'
src/.libs/nghttp --data=README.rst -nv "$site/README.rst" | grep -q ':status: 200'
src/.libs/h2load -n 2000 -c 4 -m 20 "$site/README.rst" | grep -q ' 2000 succeeded, 0 failed, 0 errored'
printf '{"cases":[{"headers":[{":method":"GET"},{"x-some":"%s"},{"cookie":"a=b"}]}]}' "$(seq -s, 100)" >case.json
src/.libs/deflatehd <case.json | src/.libs/inflatehd | grep -q '"x-some": "1,2,3,'
