# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parsers that say in one sentence what is wrong with a command line, and what may have been meant."""

from __future__ import annotations

import argparse
import os
import sys

from .output import complain

WRONG_USAGE = 2


class _Formatter(argparse.HelpFormatter):
    """That of argparse, which makes one for each argument, and loads half of the library to learn the width."""

    def __init__(self, prog):
        super().__init__(prog, width=_columns() - 2)


def _columns():
    """The width of the terminal, as shutil.get_terminal_size() has it."""
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


class Parser(argparse.ArgumentParser):
    """The parser of a whole command.  Options that are abbreviated without ambiguity are understood."""

    def __init__(self, **settings):
        settings.setdefault("formatter_class", _Formatter)
        self.arguments: list[argparse.Action] = []  # in the order in which they were added, -h first
        self.verbs: dict[str, Verb] = {}
        self._given: list[str] = []
        super().__init__(**settings)

    def add_argument(self, *names, **settings):
        """As that of argparse."""
        action = super().add_argument(*names, **settings)
        self.arguments.append(action)
        return action

    def add_mutually_exclusive_group(self, **settings):
        """As that of argparse; what is added to the group is among ``arguments``, too."""
        group = super().add_mutually_exclusive_group(**settings)
        add = group.add_argument

        def add_argument(*names, **settings):
            action = add(*names, **settings)
            self.arguments.append(action)
            return action

        group.add_argument = add_argument  # type: ignore[method-assign]
        return group

    def add_verbs(self):
        """add_subparsers(), for verbs; Verb is the class of their parsers."""
        added = self.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Verb)
        self.verbs = added.choices
        return added

    @property
    def options(self):
        """All names of options: ``-o``, ``--output``."""
        return [name for action in self.arguments for name in action.option_strings]

    def parse_known_args(self, args=None, namespace=None):
        """As that of argparse."""
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def parse_args(self, args=None, namespace=None):
        """As that of argparse; a verb's default ``misuse`` says what is wrong with all arguments together, or None."""
        found = super().parse_args(args, namespace)
        misuse = found.misuse(found) if getattr(found, "misuse", None) is not None else None
        if misuse is not None:
            self.error(misuse)
        return found

    def error(self, message):
        """Say what is wrong, one sentence, and exit."""
        more = "" if message.endswith("?") else f"; {_usage_of(self._chosen())}"
        complain(self._mistyped() or f"{message}{more}")
        raise SystemExit(WRONG_USAGE)

    def _chosen(self):
        """The parser of the verb that was given, or this one."""
        return self.verbs.get(self._first_word(), self)

    def _first_word(self):
        return next((word for word in self._given if not word.startswith("-")), "")

    def _mistyped(self):
        """The sentence on a verb or an option that does not exist, or None."""
        verb = self._first_word()
        if self.verbs and verb and verb not in self.verbs:
            early = _option(self._given[0])
            if early is not None and any(_is_among(early, each.options) for each in self.verbs.values()):
                return f"the option {early} goes after the verb; {_usage_of(self)}"
            return f"there is no verb {verb}; {meant(verb, self.verbs) or _usage_of(self)}"
        chosen = self._chosen()
        for place, word in enumerate(self._given):
            if word == "--":
                break
            option = _option(word)
            before_verb = chosen is not self and place < self._given.index(verb)
            known = self.options if before_verb else chosen.options
            if option is None or _is_among(option, known):
                continue
            if before_verb and _is_among(option, chosen.options):
                return f"the option {option} goes after the verb: {chosen.prog} {option}"
            return f"{chosen.prog} has no option {option}; {meant(option, chosen.options) or _usage_of(chosen)}"
        return None


class Verb(Parser):
    """The parser of one verb, in which options may stand between the other arguments.

    Without more ado argparse takes ``PID ...`` for absent as soon as an option stands before it, and then does not
    know what the numbers behind the option are.
    """

    _sorting = False

    def parse_known_args(self, args=None, namespace=None):
        """As that of argparse, which calls it once for a verb, and from there again for each of two passes."""
        if self._sorting:
            return argparse.ArgumentParser.parse_known_args(self, args, namespace)
        self._sorting = True
        self._given = list(args or ())
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._sorting = False


def one_of(choices):
    """The settings of an argument that has to be one of the words ``choices``."""

    def choice(word):
        if word not in choices:
            raise argparse.ArgumentTypeError(f"{word} is none of {', '.join(choices)}{_clause(meant(word, choices))}")
        return word

    return {"type": choice, "choices": choices}


def meant(word, names):
    """Which of ``names`` the user may have meant by ``word``, a question; None: nothing is like it."""
    # Only who mistypes waits for it.
    import difflib

    alike = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {alike[0]}?" if alike else None


def _usage_of(parser):
    return f"for usage see {parser.prog} --help"


def _clause(text):
    return f"; {text}" if text else ""


def _option(word):
    """The name of the option that ``word`` begins with, or None where it is no option, but a number, say."""
    if len(word) < 2 or word[0] != "-":
        return None
    if word.startswith("--"):
        return word.partition("=")[0]
    return word[:2] if word[1].isalpha() else None


def _is_among(option, names):
    """Whether ``option`` is one of ``names``, or may be an abbreviation of one."""
    return any(name == option or (option.startswith("--") and name.startswith(option)) for name in names)
