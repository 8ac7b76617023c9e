# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a page takes to open in headless Chromium: page.py FILE.html.

Prints, for several times in turn, after how many seconds the page was loaded, which includes its script, and after how
many its first screen was drawn. Asserts nothing: a number depends on the machine, a test must not.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator

TIMES = 5
# Where Chromium reads commands and writes answers, https://chromedevtools.github.io/devtools-protocol/, section "pipe".
COMMANDS, ANSWERS = 3, 4


class Browser:
    """Headless Chromium, driven through two pipes by JSON that ends with a null byte."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._read = b""
        self._number = 0
        self._session: dict[str, str] = {}
        page = next(its for its in self.ask("Target.getTargets")["targetInfos"] if its["type"] == "page")
        attached = self.ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        self.ask("Page.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Have Chromium do something, and wait until it is done."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        return self._wait_for(lambda answer: answer.get("id") == self._number)["result"]

    def open(self, url: str) -> tuple[float, float]:
        """Open ``url``: after how many seconds it was loaded, and after how many it was drawn."""
        self.ask("Page.navigate", url="about:blank")
        began = time.monotonic()
        self.ask("Page.navigate", url=url)
        self._wait_for(lambda answer: answer.get("method") == "Page.loadEventFired")
        loaded = time.monotonic() - began
        self.ask("Page.captureScreenshot")
        return loaded, time.monotonic() - began

    def evaluate(self, expression: str) -> Any:
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def _wait_for(self, wanted):
        while True:
            while b"\0" not in self._read:
                data = os.read(self._answers, 1 << 20)
                if not data:
                    sys.exit("Chromium has ended: try `chromium --headless about:blank`")
                self._read += data
            answer, _null, self._read = self._read.partition(b"\0")
            if wanted(found := json.loads(answer)):
                return found


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        sys.exit("there is no chromium: install the package chromium")
    profile = tempfile.mkdtemp(prefix="ulp-bench-page-")
    theirs, commands = os.pipe()
    answers, ours = os.pipe()
    # Root's Chromium has no sandbox to run in; the page is our own.
    command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
               f"--user-data-dir={profile}", "about:blank"]
    redirected = f'exec "$@" {COMMANDS}<&{theirs} {ANSWERS}>&{ours}'
    process = subprocess.Popen(["bash", "-c", redirected, "bash", *command], pass_fds=(theirs, ours),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(theirs)
    os.close(ours)
    try:
        yield Browser(commands, answers)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(profile, ignore_errors=True)


def main(path: Path) -> None:
    with browser() as chromium:
        for _each in range(TIMES):
            loaded, drawn = chromium.open(path.resolve().as_uri())
            sys.stdout.write(f"loaded after {loaded:.2f} s, drawn after {drawn:.2f} s\n")
        rows = chromium.evaluate("document.querySelectorAll('tbody tr').length")
    sys.stdout.write(f"{path}: {rows} rows, {path.stat().st_size >> 10} KB\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: page.py FILE.html")
    main(Path(sys.argv[1]))
