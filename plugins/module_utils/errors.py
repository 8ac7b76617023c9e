# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong, in one sentence each.

Every failure that a user can meet is an UlpError whose text is one sentence:
it names the file or process concerned and says what to do.  Callers print
``str(error)`` and nothing else.
"""

from __future__ import annotations

from .printable import printable


class UlpError(Exception):
    """A failure that a user can meet; ``str()`` of it is the sentence to show, printable, whatever names are in it."""

    def __str__(self) -> str:
        return printable(super().__str__())


# How a sentence begins that whoever runs a rollout can do something about for all hosts at once.
NO_SIGNERS = "there is no allowed-signers file"


class MissingDependency(UlpError):
    """A Python package that the core needs is not installed."""

    def __init__(self, module: str, package: str) -> None:
        """
        :param module: name of the Python module that could not be imported.
        :param package: name of the Debian package that brings it.
        """
        self.module = module
        self.package = package
        super().__init__(
            f"the Python module {module} is missing for this interpreter; install the package {package}"
        )


class FileProblem(UlpError):
    """The operating system refused to read or write a file."""

    def __init__(self, action: str, path: object, error: OSError) -> None:
        """
        :param action: what was tried, as a verb: ``read``, ``write``.
        :param path: the file.
        :param error: the OSError.
        """
        self.path = str(path)
        super().__init__(f"cannot {action} {path}: {error.strerror or error}")


class BadElf(UlpError):
    """A file is not the kind of ELF file that was asked for, or it is damaged."""


class NotPatchable(UlpError):
    """A library, or functions in it, cannot be made livepatchable or replaced."""

    def __init__(self, message: str, functions: list[str] | tuple[()] = ()) -> None:
        """
        :param message: the sentence.
        :param functions: the names of all functions concerned.
        """
        self.functions = list(functions)
        super().__init__(message)


class BadDescription(UlpError):
    """A description file, or the parameters that stand for one, say something wrong."""


class BadLivepatch(UlpError):
    """A file is not a livepatch, or it is damaged."""


class MissingProgram(UlpError):
    """A program that the core runs is not installed."""

    def __init__(self, program: str, package: str) -> None:
        """
        :param program: the program's name.
        :param package: name of the Debian package that brings it.
        """
        self.program = program
        super().__init__(f"the program {program} is missing on this machine; install the package {package}")


class BadSignature(UlpError):
    """A livepatch is not signed, or not by somebody who may."""


class Untrusted(UlpError):
    """A file or directory could be changed by a user who must not be able to."""
