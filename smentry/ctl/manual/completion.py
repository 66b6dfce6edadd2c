"""Completion for bash, zsh and fish: shtab writes it, and this says what each argument may be. It knows no program.

What an argument may be is told by its metavar: FILE, DIR, IMAGE, CMD, NAME=DIR and so on, `|` between alternatives.
"""

from __future__ import annotations

import argparse
import re

from smentry.ctl.manual.description import verbs

SHELLS = ("bash", "zsh", "fish")

_FUNCTIONS = {
    "file": "_smentry_file",
    "directory": "_smentry_dir",
    "assigned": "_smentry_assigned_dir",
    "image": "_smentry_image_dir",
    "command": "_smentry_command",
    "verb": "_smentry_verb",
    "user": "_smentry_user",
}
"""The function for each kind of argument, by the same name in every shell. shtab takes those with `_file` or `_dir` in
their names for such as list files, which the shell then writes with a `/` after a directory."""

_KINDS = (
    (r"VERB", "verb"),
    (r".*=DIR(ECTORY)?", "assigned"),
    (r".*IMAGE", "image"),
    (r"DIR(ECTORY)?", "directory"),
    (r"(.*\.)?(FILE|PATH|REQUEST|json)", "file"),
    (r"CMD", "command"),
    (r"USER", "user"),
)

_BASH = r"""
_smentry_file() { compgen -f -- "$1"; }
_smentry_dir() { compgen -d -- "$1"; }
_smentry_assigned_dir() { [[ $1 != *=* ]] || compgen -P "${1%=*}=" -d -- "${1##*=}"; }
_smentry_image_dir() {
  compgen -W "$(docker image ls --format '{{.Repository}}:{{.Tag}}' 2>/dev/null)" -- "$1"
  compgen -f -- "$1"
}
_smentry_command() { [[ -z $1 ]] || compgen -c -- "$1"; }
_smentry_verb() { compgen -W 'train serve' -- "$1"; _smentry_command "$1"; }
_smentry_user() { compgen -u -- "$1"; }

# readline parts words at = and :. The function $1 is to see NAME=DIR and IMAGE:TAG whole, and --scope=all as --scope all.
_smentry_whole_words() {
  local -a words=()
  local index word last=-1 open= raw=${COMP_WORDS[COMP_CWORD]} prefix
  for ((index = 0; index <= COMP_CWORD; index++)); do
    word=${COMP_WORDS[index]}
    if [[ $last -ge 0 && $word =~ ^[=:]+$ ]]; then
      if [[ $word == = && ${words[last]} == --* ]]; then words[++last]=; else words[last]+=$word; fi
      open=1
    elif [[ $open ]]; then
      words[last]+=$word
      open=
    else
      words[++last]=$word
    fi
  done
  [[ ! $raw =~ ^[=:]+$ ]] || raw=
  prefix=${words[last]%"$raw"}
  local -a COMP_WORDS=("${words[@]}")
  local COMP_CWORD=$last
  "$1"
  COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
}
"""

_ZSH = r"""
_smentry_file() { _files }
_smentry_dir() { _files -/ }
_smentry_assigned_dir() { compset -P '*=' && _files -/ }
_smentry_image_dir() {
  local -a images=(${(f)"$(docker image ls --format '{{.Repository}}:{{.Tag}}' 2>/dev/null)"})
  compadd -a images
  _files
}
_smentry_command() { [[ -z $PREFIX ]] || _command_names -e }
_smentry_verb() { compadd train serve; _smentry_command }
_smentry_user() { _users }
"""

_FISH = r"""
function _smentry_word
    string replace -r -- '^--[^=]*=' '' (commandline -ct)
end
function _smentry_file
    __fish_complete_path (_smentry_word)
end
function _smentry_dir
    __fish_complete_directories (_smentry_word)
end
function _smentry_assigned_dir
    set -l parts (string match -r -- '^(.*=)(.*)$' (_smentry_word))
    and for directory in (__fish_complete_directories $parts[3])
        echo $parts[2]$directory
    end
end
function _smentry_image_dir
    docker image ls --format '{{.Repository}}:{{.Tag}}' 2>/dev/null
    __fish_complete_path (_smentry_word)
end
function _smentry_command
    set -l word (_smentry_word)
    string match -qr -- '^[^-]' "$word"; and complete -C "$word"
end
function _smentry_verb
    printf '%s\n' train serve
    _smentry_command
end
function _smentry_user
    __fish_complete_users
end
"""

_PREAMBLES = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """What makes one of SHELLS complete the words of this program. The parser is not of use for parsing afterwards."""
    import shtab

    for described in (parser, *verbs(parser).values()):
        for action in described._actions:
            _tell(action, shell)
    written: str = shtab.complete(parser, shell, preamble=_PREAMBLES[shell]) + "\n"
    if shell == "bash":
        name = parser.prog
        written += f"_smentry_of_{name}() {{ _smentry_whole_words _shtab_{name}; }}\n"
        written += f"complete -o bashdefault -F _smentry_of_{name} {name}\n"
    return written


def kind(action: argparse.Action) -> str:
    """What a word for this argument is, among the keys of _FUNCTIONS; empty where nothing is known, or it has choices."""
    if action.nargs == argparse.REMAINDER:
        return "file"
    if action.nargs == 0 or isinstance(action, argparse._SubParsersAction) or not isinstance(action.metavar, str):
        return ""
    words = re.sub(r"\[.*", "", action.metavar).split("|")
    found = [kind for pattern, kind in _KINDS if any(re.fullmatch(pattern, word) for word in words)]
    return found[0] if found else ""


def _tell(action: argparse.Action, shell: str) -> None:
    found = kind(action)
    if found and (not action.choices or found == "verb"):
        function = _FUNCTIONS[found]
        action.complete = f"({function})" if shell == "fish" else function  # type: ignore[attr-defined]
        action.complete = {shell: action.complete}  # type: ignore[attr-defined]
    if shell == "zsh" and action.nargs != 0:  # _arguments: `--name=` takes a value after `=` or as the next word
        action.option_strings = [f"{name}=" if name.startswith("--") else name for name in action.option_strings]
        if isinstance(action.metavar, str):
            action.metavar = action.metavar.replace(":", r"\:")
