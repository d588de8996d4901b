"""The command `waggle`. Each command is a thin shell around a function that a test can call."""

import sys

import click

from node.cli.devnet import devnet
from node.cli.genesis import genesis
from node.cli.keys import keys
from node.cli.run import run
from node.cli.sim import sim
from node.errors import NodeError
from processors.errors import EngineError, GenesisError
from state.errors import StateError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="waggle")
def cli() -> None:
    """Waggle: a group holds one Hive account together, with no one in charge.

    Try it:  waggle devnet
    """


cli.add_command(devnet)
cli.add_command(genesis)
cli.add_command(keys)
cli.add_command(run)
cli.add_command(sim)


def main() -> None:
    """Entry point: errors that we know are one clear message and exit 1, not a traceback."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except GenesisError as error:
        sys.exit("waggle: the genesis cannot be used:\n" + "\n".join(f"  {problem}" for problem in error.problems))
    except (NodeError, EngineError, StateError) as error:
        sys.exit(f"waggle: {error}")
