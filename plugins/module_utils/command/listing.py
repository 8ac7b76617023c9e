# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb ``list``: what there is on this machine, once or again and again."""

from __future__ import annotations

import os
import sys
import time

from ..attention import BY_ATTACHING, concerns, has_to_do, urgency, urgency_refused
from ..dispatch.facts import gather
from ..dispatch.select import Selection
from ..errors import UlpError
from ..printable import printable, some
from ..process.errors import ProcessGone
from ..process.procfs import hides_processes
from ..termination import Terminated
from .output import DONE, REFUSED, SIGNALLED, complain, print_json, print_lines, show
from .report import refusal_lines, state_lines

# How many PIDs one sentence names.
_LISTED = 5
_REMEDY = "run as root of the machine to see them"
# For a terminal, ECMA-48: go to the top left corner; erase to the end of the line; erase to the end of the screen.
_HOME, _END_OF_LINE, _END_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


class _View:
    """What was asked for, and what of it is there."""

    def __init__(self, arguments):
        pids = [word for word in arguments.processes if isinstance(word, int)]
        self._pids = {*arguments.process, *pids}
        self._names = tuple(word for word in arguments.processes if word not in pids)
        self._everything = arguments.all or bool(self._pids or self._names)
        self._timeout = arguments.examine_timeout
        self.complaints: list[str] = []
        self.failed = False  # a process given by its PID is not there, or cannot be patched
        self.facts: dict = {}  # of dispatch.facts.gather()

    def look(self):
        """Gather the facts; False where there is no process left that was asked for."""
        self.complaints = []
        if os.getpid() in self._pids:
            raise UlpError(f"process {os.getpid()} is this command itself, which it does not list")
        while True:
            try:
                self.facts = gather(Selection(tuple(self._pids), self._names), self._timeout)
            except ProcessGone as error:
                # The others are there all the same.
                self._pids.remove(error.pid)
                self.complaints.append(str(error))
                self.failed = True
                if not self._pids and not self._names:
                    return False
            else:
                break
        for process in self._refused():
            if process["pid"] in self._pids:
                self.failed = True
                self.complaints.append(process["reason"])
        self._note_what_is_left_out()
        return True

    def _refused(self):
        return [process for process in self.facts["unpatchable"] if process["patchable"] != BY_ATTACHING]

    def _note_what_is_left_out(self):
        hidden = [str(process["pid"]) for process in self.facts["unpatchable"] if process["forbidden"]]
        if hidden and not self._everything:
            whose = "processes" if os.geteuid() == 0 else "processes of other users"
            self.complaints.append(
                f"{whose} that this user may not examine were left out: {some(hidden, _LISTED)}; {_REMEDY}"
            )
        if (self._names or not self._pids) and hides_processes():
            self.complaints.append(
                f"processes of other users were left out: /proc is mounted with hidepid and hides them; {_REMEDY}"
            )

    def lines(self):
        """What there is to see, what needs attention first."""
        # Of those that were asked for by PID, what cannot be patched has its sentence on standard error.
        said = self._pids & {process["pid"] for process in self._refused()}
        refused = [
            process for process in self.facts["unpatchable"]
            if process["pid"] not in said and (self._everything or concerns(process))
        ]
        shown = [process for process in self.facts["processes"] if self._everything or has_to_do(process)]
        entries = [(urgency(process), process["pid"], state_lines(process)) for process in shown]
        entries += [(urgency_refused(process), process["pid"], refusal_lines(process)) for process in refused]
        lines = [line for _urgency, _pid, lines in sorted(entries) for line in lines]
        if not lines and not self.failed:
            lines = [self._nothing()]
        return lines

    def _nothing(self):
        if self._names:
            return f"nothing to show: no process is called {' or '.join(self._names)}"
        left_out = len(self.facts["processes"]) + len(self.facts["unpatchable"])
        more = f"; --all shows the {left_out} others" if left_out else ""
        return f"nothing to show: no process has to do with a livepatch{more}"


def _list(arguments):
    view = _View(arguments)
    if arguments.watch is not None:
        return _watch(view, arguments)
    there = view.look()
    if there:
        show(arguments, view.facts, view.lines())
        sys.stdout.flush()
    for complaint in view.complaints:
        complain(complaint)
    return REFUSED if view.failed else DONE


def _watch(view, arguments):
    """Show it until somebody interrupts, or no process is left that was asked for."""
    on_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not arguments.json
    draw = _redraw if on_terminal else _repeat
    told: set[str] = set()
    try:
        while view.look():
            # On a terminal they would be drawn over.
            draw(view, arguments, [complaint for complaint in view.complaints if complaint not in told])
            told.update(view.complaints)
            sys.stdout.flush()
            time.sleep(arguments.watch)
    except Terminated as signal:
        return SIGNALLED + signal.number
    for complaint in view.complaints:
        complain(complaint)
    return REFUSED


def _repeat(view, arguments, news):
    for complaint in news:
        complain(complaint)
    if arguments.json:
        print_json(view.facts, one_line=True)
    else:
        print_lines([_heading(arguments), *view.lines(), ""])


def _redraw(view, arguments, _news):
    width, height = os.get_terminal_size(sys.stdout.fileno())
    lines = [_heading(arguments), *(f"ulp: {complaint}" for complaint in view.complaints), *view.lines()]
    if height and len(lines) >= height:
        left_out = len(lines) - height + 2
        lines[height - 2:] = [f"... {left_out} more lines, for which this terminal has no room"]
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(_HOME)
    for line in lines:
        text = printable(line)[:width or None].encode(encoding, "backslashreplace").decode(encoding)
        sys.stdout.write(f"{text}{_END_OF_LINE}\n")
    sys.stdout.write(_END_OF_SCREEN)


def _heading(arguments):
    return f"every {arguments.watch:g} s: ulp list, {time.strftime('%Y-%m-%d %H:%M:%S')}"


VERBS = {"list": _list}
