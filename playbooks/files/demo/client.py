# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of the demonstration: one connection that stays, and one question asked over and over.

  client.py watch ADDRESS STATE QUESTION   connect, ask for ever, and keep STATE up to date
  client.py wait STATE ANSWER              until the answer is ANSWER, then print STATE; exit 1 after 30 seconds
  client.py stop ADDRESS STATE             end the service and the client that watches it
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time

DEADLINE = 30.0
LIFETIME = 900.0
INTERVAL = 0.01


def read_json(path):
    """What a state file holds, or None while there is none; it is replaced atomically, so it is never half."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def write_json(path, value):
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.rename(path + ".new", path)


def read_address(path):
    """(port, PID) of the service, or None while it does not listen yet."""
    try:
        with open(path, encoding="utf-8") as file:
            port, pid = file.read().split()
    except FileNotFoundError:
        return None
    return int(port), int(pid)


def wait_for(read, *arguments):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        value = read(*arguments)
        if value is not None:
            return value
        time.sleep(INTERVAL)
    sys.exit(f"client.py: nothing in {arguments[0]} for {DEADLINE:.0f} seconds")


def watch(address, path, question):
    """Ask on one connection until the service closes it."""
    port, _pid = wait_for(read_address, address)
    state = {"client": os.getpid(), "service": None, "connection": None, "requests": 0, "answer": None, "history": []}
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as connection:
        lines = connection.makefile("r", encoding="ascii")
        state["connection"] = "{}:{}".format(*connection.getsockname())

        def ask(request):
            connection.sendall(request.encode("ascii") + b"\n")
            return lines.readline().rstrip("\n")

        end = time.monotonic() + LIFETIME
        written = 0.0
        while time.monotonic() < end:
            try:
                who = ask("WHO")
                answer = ask(question)
            except OSError:
                break
            if not who or not answer:
                break
            state["service"] = int(who.split()[0])
            state["requests"] += 1
            changed = answer != state["answer"]
            if changed:
                state["answer"] = answer
                state["history"].append({"answer": answer, "request": state["requests"], "service": state["service"]})
            if changed or time.monotonic() - written > 0.1:
                write_json(path, state)
                written = time.monotonic()
            time.sleep(INTERVAL)
    state["answer"] = None
    if os.path.isdir(os.path.dirname(path)):
        write_json(path, state)


def wait(path, answer):
    """Wait until the client gets this answer, and print what it knows."""
    end = time.monotonic() + DEADLINE
    state = None
    while time.monotonic() < end:
        state = read_json(path)
        if state is not None and state["answer"] == answer:
            sys.stdout.write(json.dumps(state) + "\n")
            return
        time.sleep(INTERVAL)
    sys.exit(f"client.py: waited {DEADLINE:.0f} seconds for the answer {answer!r}; {path} has {json.dumps(state)}")


def end_process(pid):
    """End a process, and wait until it is gone."""
    limit = time.monotonic() + 5
    try:
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < limit:
            time.sleep(INTERVAL)
            os.kill(pid, 0)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def stop(address, path):
    """End the service; its client then ends by itself, and is helped if it does not."""
    where = read_address(address)
    if where is not None:
        end_process(where[1])
    state = read_json(path)
    if state is not None:
        end_process(state["client"])


if __name__ == "__main__":
    {"watch": watch, "wait": wait, "stop": stop}[sys.argv[1]](*sys.argv[2:])
