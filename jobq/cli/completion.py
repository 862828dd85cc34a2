"""`jobq completion`: the script with which a shell completes commands, options and topics."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from jobq.cli.commands import commands
from jobq.cli.target import debug_option

VARIABLE = "_JOBQ_COMPLETE"
"""What the script sets for `jobq` to print what completes the words of COMP_WORDS; click looks for it."""


class ColonBashComplete(BashComplete):
    """Bash breaks words at colons and equals signs, which URLs and topics have: put together again what it broke."""

    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' word type value
    local -a words=()
    local line=${COMP_LINE:-"${COMP_WORDS[*]}"}

    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ ${#words[@]} == 0 || $line == [[:space:]]* ]]; then
            words+=("$word")
        else
            words[-1]+=$word
        fi
        line=${line#"${line%%%%[![:space:]]*}"}
        line=${line#"$word"}
    done

    local current=${words[-1]##*=}
    local before=
    if [[ $COMP_WORDBREAKS == *:* && $current == *:* ]]; then
        before=${current%%:*}:
    fi

    COMPREPLY=()
    while IFS=',' read -r type value; do
        if [[ $type == dir ]]; then
            compopt -o dirnames
        elif [[ $type == file ]]; then
            compopt -o default
        elif [[ $type == plain ]]; then
            COMPREPLY+=("${value#"$before"}")
        fi
    done < <(env COMP_WORDS="${words[*]}" COMP_CWORD=$((${#words[@]} - 1)) %(complete_var)s=bash_complete "$1")
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


SHELLS: dict[str, type[ShellComplete]] = {"bash": ColonBashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
@debug_option
def completion(shell: str) -> None:
    """Print the script with which a shell completes commands, options and topics.

    bash 4.4 or newer, in ~/.bashrc: eval "$(jobq completion bash)"

    zsh, in ~/.zshrc after compinit: eval "$(jobq completion zsh)"

    fish, once: jobq completion fish > ~/.config/fish/completions/jobq.fish
    """
    print(SHELLS[shell](commands, {}, "jobq", VARIABLE).source(), end="")
