"""`waggle completion`: the script that lets a shell complete commands and options."""

import click
from click.shell_completion import get_completion_class

_INSTALL = {
    "bash": 'add to ~/.bashrc:  eval "$(waggle completion bash)"',
    "zsh": 'add to ~/.zshrc:  eval "$(waggle completion zsh)"',
    "fish": "waggle completion fish > ~/.config/fish/completions/waggle.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(_INSTALL)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script with which SHELL (bash, zsh or fish) completes commands and options of waggle.

    Example:  waggle completion bash
    """
    kind = get_completion_class(shell)
    if kind is None:  # every shell of the choice is click's own
        raise click.UsageError(f"there is no completion for {shell}")
    completer = kind(ctx.find_root().command, {}, "waggle", "_WAGGLE_COMPLETE")
    script = completer.source_template % completer.source_vars()
    click.echo(f"{script.strip()}\n# To install it: {_INSTALL[shell]}")  # zsh wants its own word in the first line
