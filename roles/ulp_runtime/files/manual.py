# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual page of a command, in roff, from its parser; man(7)."""

from __future__ import annotations

import textwrap

# Of a line of the source, in characters, before any is escaped.
WIDTH = 72
STATUS = "Exit status:"
# What stands for itself in no other way; groff_char(7).
NAMES = (("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("^", "\\(ha"), ("~", "\\(ti"))


def page(command):
    """The text of ulp.1 for a command.usage.Parser."""
    title = command.prog.upper()
    about, status = described(command)
    version = next(action.version for action in command.arguments if hasattr(action, "version"))
    lines = [
        ".\\\" Written by roles/ulp_runtime/files/document_ulp.py.",
        f".TH {title} 1 \"\" \"{escaped(version % {'prog': command.prog})}\" \"User Commands\"",
        # Names of options are not divided, and lines of them not stretched.
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{command.prog} \\- {escaped(lowered(command.description))}",
        ".SH SYNOPSIS",
        *synopsis(command),
        *(line for verb in command.verbs.values() for line in (".br", *synopsis(verb))),
        ".SH DESCRIPTION",
        *paragraph(about),
        ".SH OPTIONS",
        *arguments(command.arguments, command.prog),
        ".SH VERBS",
    ]
    for name, verb in command.verbs.items():
        about, more = described(verb)
        lines += [f".SS {bold(name)}", *paragraph(about),
                  *arguments([action for action in verb.arguments if not asks_for_help(action)], verb.prog)]
        lines += [".PP", *paragraph(f"{STATUS} {more}")] if more else []
    lines += [".SH EXIT STATUS", *paragraph(status[0].upper() + status[1:]), ".SH SEE ALSO",
              bold("ssh-keygen") + "(1), " + bold("ptrace") + "(2), " + bold("ld.so") + "(8)"]
    return "\n".join(lines) + "\n"


def described(parser):
    """(what it does, what its exit status means) of a parser, from the text that its help begins and ends with."""
    about, _heading, status = f"{parser.description} {parser.epilog or ''}".partition(STATUS)
    return about.strip(), status.strip()


def synopsis(parser):
    """The lines that show how it is called."""
    words = [bold(parser.prog)]
    for action in parser.arguments:
        if asks_for_help(action):
            continue
        word = argument(action)
        if action.option_strings:
            word = f"{bold(action.option_strings[0])}{f' {word}' if word else ''}"
            word = word if action.required else f"[{word}]"
        words.append(word)
    if parser.verbs:
        words += [italic("VERB"), "..."]
    return [" ".join(words)]


def asks_for_help(action):
    """Whether it is the argument that every verb has."""
    return "--help" in action.option_strings


def arguments(actions, prog):
    """The lines that explain arguments: positional ones first."""
    lines = []
    for action in sorted(actions, key=lambda action: bool(action.option_strings)):
        value = argument(action)
        names = [bold(name) + (f" {value}" if value else "") for name in action.option_strings] or [value]
        lines += [".TP", ", ".join(names), *paragraph(help_of(action, prog))]
    return lines


def argument(action):
    """What stands for the value of an argument, "" for none."""
    if action.nargs == 0:
        return ""
    name = italic(action.metavar) if action.metavar else "|".join(bold(word) for word in action.choices)
    return {"?": f"[{name}]", "*": f"[{name} ...]"}.get(action.nargs, name)


def help_of(action, prog):
    """The help of an argument as ``--help`` shows it."""
    return action.help % dict(vars(action), prog=prog)


def paragraph(text):
    """The lines of running text."""
    return [escaped(line) for line in textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)]


def lowered(sentence):
    """A sentence as a clause."""
    return sentence[0].lower() + sentence[1:].rstrip(".")


def bold(text):
    """Literal text."""
    return f"\\fB{escaped(text)}\\fR"


def italic(text):
    """Text that something else stands for."""
    return f"\\fI{escaped(text)}\\fR"


def escaped(text):
    """Text without any meaning to roff; a hyphen is one that can be copied, and no quote begins a line."""
    for character, name in NAMES:
        text = text.replace(character, name)
    return f"\\&{text}" if text.startswith(".") else text
