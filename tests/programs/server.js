// SPDX-License-Identifier: GPL-3.0-or-later
// Answers each request with the name of the host, as libuv gets it from the C library.
'use strict';
const http = require('http');
const os = require('os');

http.createServer((request, response) => response.end(os.hostname()))
  .listen(Number(process.argv[2]), '127.0.0.1');
