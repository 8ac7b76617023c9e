# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What shells complete of a command, from its parser.

What processes call themselves is offered by no shell but as a plain word: bash expands the words that it is given to
choose from.
"""

from __future__ import annotations

import shlex

from manual import help_of

WRITTEN_BY = "# Written by roles/ulp_runtime/files/document_ulp.py."
# Kinds of values: what stands for them in help, and what each is.
PIDS, PROCESSES, FILES, ANYTHING = "pids", "processes", "files", "anything"
LIVEPATCHES_OR_PIDS = "livepatches_or_pids"
KINDS = {
    "PID": PIDS,
    "PROCESS": PROCESSES,
    "WILDCARD": PROCESSES,
    "RULE": PROCESSES,
    "FILE.ulp": f"{FILES} ulp",
    "FILE.ulp|DIR|PID": LIVEPATCHES_OR_PIDS,
    "PATCH.dsc": f"{FILES} dsc",
    "LIB.so": FILES,
    "OUT": FILES,
    "OUT.ulp": FILES,
    "FILE": FILES,
    "KEY": FILES,
    "PATH": FILES,
    "DIR": FILES,
    "DIFF": FILES,
    "NAME": ANYTHING,
    "TEXT": ANYTHING,
    "SECONDS": ANYTHING,
    "GIB": ANYTHING,
    "N": ANYTHING,
    "COMMAND": ANYTHING,
    "PACKAGE": ANYTHING,
}


def kind(action):
    """What the value of an argument is: a kind, or ``words`` and the words to choose from; None: it has none."""
    if action.nargs == 0:
        return None
    if action.choices:
        return f"words {' '.join(action.choices)}"
    return KINDS[action.metavar]


def options(parser):
    """The arguments that are options."""
    return [action for action in parser.arguments if action.option_strings]


def positionals(parser):
    """The arguments that are none."""
    return [action for action in parser.arguments if not action.option_strings]


def valued(parser):
    """Options behind which a value has to stand."""
    return [action for action in options(parser) if action.nargs is None and kind(action)]


def short_help(action, prog):
    """The first clause of an argument's help."""
    return help_of(action, prog).partition(";")[0]


def about(parser):
    """What a verb does, a clause."""
    return parser.description[0].lower() + parser.description[1:].rstrip(".").partition(";")[0]


# --------------------------------------------------------------------- bash

BASH = r"""%(written_by)s
# shellcheck shell=bash

_ulp_pids() {
    mapfile -t COMPREPLY < <(cd /proc && compgen -W "$(echo [0-9]*)" -- "$1")
}

# Names of processes, and PIDs: what a process calls itself may be anything, so only plain names are taken.
_ulp_processes() {
    local file name
    local -A seen=()
    _ulp_pids "$1"
    for file in /proc/[0-9]*/comm; do
        { read -r name <"$file"; } 2>/dev/null || continue
        [[ $name == "$1"* && $name != *[!a-zA-Z0-9_.+-]* && -z ${seen[$name]-} ]] || continue
        seen[$name]=1
        COMPREPLY+=("$name")
    done
}

_ulp_files() {
    compopt -o filenames 2>/dev/null
    if [[ -n ${2-} ]]; then
        mapfile -t COMPREPLY < <(compgen -f -X "!*.$2" -- "$1"; compgen -d -- "$1")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$1")
    fi
}

_ulp_livepatches_or_pids() {
    local files
    _ulp_files "$1" ulp
    [[ $1 == [0-9]* ]] || return
    files=("${COMPREPLY[@]}")
    _ulp_pids "$1"
    COMPREPLY+=("${files[@]}")
}

_ulp_words() {
    local word=$1
    shift
    mapfile -t COMPREPLY < <(compgen -W "$*" -- "$word")
}

_ulp_anything() {
    :
}

_ulp() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb='' place=-1 index word
    local options='%(options)s' valued='' kinds=() kind=''
    COMPREPLY=()
    # --option=value is three words to bash.
    if [[ $current == '=' ]]; then
        current=''
    elif [[ $before == '=' ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        if [[ -z $verb && $word != -* ]]; then
            verb=$word
            case $verb in
%(verbs)s
            *)
                return
                ;;
            esac
            place=0
        elif [[ $word == -* ]]; then
            if [[ ${COMP_WORDS[index + 1]-} == '=' ]]; then
                index=$((index + 2))
            elif [[ " $valued " == *" $word "* ]]; then
                index=$((index + 1))
            fi
        else
            place=$((place + 1))
        fi
    done
    if [[ -z $verb ]]; then
        [[ $current == -* ]] || options='%(names)s'
        _ulp_words "$current" "$options"
        return
    fi
    case "$verb $before" in
%(values)s
    esac
    if [[ -z $kind && $current == -* ]]; then
        _ulp_words "$current" "$options"
        return
    fi
    if [[ -z $kind && ${#kinds[@]} -gt 0 ]]; then
        # The last one may be given again.
        [[ $place -lt ${#kinds[@]} || -n ${repeated-} ]] || return
        [[ $place -lt ${#kinds[@]} ]] || place=$((${#kinds[@]} - 1))
        kind=${kinds[place]}
    fi
    [[ -n $kind ]] || return
    # shellcheck disable=SC2086
    set -- $kind
    "_ulp_$1" "$current" "${@:2}"
}

complete -F _ulp ulp
"""


def bash(command):
    """The completion for bash 4 and later."""
    verbs, values = [], []
    for name, verb in command.verbs.items():
        kinds = [kind(action) for action in positionals(verb)]
        repeated = any(action.nargs in ("*", "+") for action in positionals(verb))
        verbs += [
            f"            {name})",
            f"                options='{' '.join(verb.options)}'",
            f"                valued='{' '.join(word for action in valued(verb) for word in action.option_strings)}'",
            f"                kinds=({' '.join(shlex.quote(each) for each in kinds)})",
            f"                local repeated={'yes' if repeated else chr(39) * 2}",
            "                ;;",
        ]
        for action in valued(verb):
            places = " | ".join(f"'{name} {option}'" for option in action.option_strings)
            values += [f"    {places})", f"        kind={shlex.quote(kind(action))}", "        ;;"]
    return BASH % {
        "written_by": WRITTEN_BY,
        "options": " ".join(command.options),
        "names": " ".join(command.verbs),
        "verbs": "\n".join(verbs),
        "values": "\n".join(values),
    }


# ---------------------------------------------------------------------- zsh

ZSH_KINDS = {
    PIDS: "_pids",
    PROCESSES: "_ulp_processes",
    FILES: "_files",
    LIVEPATCHES_OR_PIDS: "_ulp_livepatches_or_pids",
    ANYTHING: " ",
}
ZSH = """#compdef ulp
%(written_by)s

_ulp_processes() {
    _alternative 'pids:process:_pids' 'names:name:_process_names -a'
}

_ulp_livepatches_or_pids() {
    _alternative 'files:livepatch:_files -g "*.ulp(-.)"' 'pids:process:_pids'
}

_ulp_verbs() {
    local -a verbs=(
%(verbs)s
    )
    _describe -t verbs verb verbs
}

_ulp() {
    local curcontext=$curcontext state line
    typeset -A opt_args
    _arguments -C \\
%(options)s
        '1:verb:_ulp_verbs' \\
        '*::argument:->arguments'
    [[ $state == arguments ]] || return
    curcontext=${curcontext%%:*}-$words[1]:
    case $words[1] in
%(arguments)s
    esac
}

_ulp "$@"
"""


def zsh(command):
    """The completion for zsh."""
    arguments = []
    for name, verb in command.verbs.items():
        specifications = [*zsh_options(verb), *zsh_positionals(verb)]
        arguments += [f"    {name})", "        _arguments \\",
                      *(f"            {each} \\" for each in specifications[:-1]),
                      f"            {specifications[-1]}", "        ;;"]
    return ZSH % {
        "written_by": WRITTEN_BY,
        "verbs": "\n".join(
            f"        {shlex.quote(f'{name}:{about(verb)}')}" for name, verb in command.verbs.items()),
        "options": "\n".join(f"        {each} \\" for each in zsh_options(command)),
        "arguments": "\n".join(arguments),
    }


def zsh_options(parser):
    """What _arguments wants to know of options."""
    found = []
    for action in options(parser):
        text = short_help(action, parser.prog).replace("[", "(").replace("]", ")").replace(":", ",")
        value = ""
        if kind(action):
            # An optional value has two colons.
            value = f"{':' if action.nargs == '?' else ''}:{action.metavar or action.dest}:{zsh_kind(action)}"
        # What may be given again may be so before and behind itself.
        others = "*" if isinstance(action.default, list) else f"({' '.join(action.option_strings)})"
        found += [shlex.quote(f"{others}{option}[{text}]{value}") for option in action.option_strings]
    return found


def zsh_positionals(parser):
    """What _arguments wants to know of the other arguments."""
    found = []
    for place, action in enumerate(positionals(parser), 1):
        where = "*" if action.nargs in ("*", "+") else place
        found.append(shlex.quote(
            f"{where}:{':' if action.nargs == '?' else ''}{action.metavar or action.dest}:{zsh_kind(action)}"))
    return found


def zsh_kind(action):
    """What zsh offers for the value of an argument."""
    name, _space, rest = kind(action).partition(" ")
    if name == "words":
        return f"({rest})"
    return f'_files -g "*.{rest}(-.)"' if rest else ZSH_KINDS[name]


# --------------------------------------------------------------------- fish

FISH_KINDS = {
    PIDS: "(__fish_complete_pids)",
    PROCESSES: "(__fish_complete_pids; __fish_complete_proc)",
    LIVEPATCHES_OR_PIDS: "(__fish_complete_suffix .ulp; __fish_complete_pids)",
}


def fish(command):
    """The completion for fish 3 and later."""
    lines = [WRITTEN_BY, "complete -c ulp -f"]
    lines += [fish_option(action, "__fish_use_subcommand", command.prog) for action in options(command)]
    for name, verb in command.verbs.items():
        lines.append(f"complete -c ulp -n __fish_use_subcommand -a {name} -d {fish_quoted(about(verb))}")
        chosen = f"__fish_seen_subcommand_from {name}"
        lines += [fish_option(action, chosen, verb.prog) for action in options(verb)]
        for action in positionals(verb):
            lines.append(f"complete -c ulp -n {fish_quoted(chosen)} {fish_kind(action)}")
    return "\n".join(lines) + "\n"


def fish_option(action, condition, prog):
    """The line about one option."""
    words = [f"complete -c ulp -n {fish_quoted(condition)}"]
    for option in action.option_strings:
        words.append(f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}")
    if kind(action):
        # Its value may be left out where no value is required.
        words += ([] if action.nargs == "?" else ["-r"]) + [fish_kind(action)]
    return " ".join([*words, f"-d {fish_quoted(short_help(action, prog))}"])


def fish_kind(action):
    """What fish offers for the value of an argument."""
    name, _space, rest = kind(action).partition(" ")
    if name == FILES:
        return f"-a {fish_quoted(f'(__fish_complete_suffix .{rest})')}" if rest else "-F"
    offered = rest or FISH_KINDS.get(name, "")
    return f"-f -a {fish_quoted(offered)}" if offered else "-f"


def fish_quoted(text):
    """``text`` between single quotes, in which fish knows two escapes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
