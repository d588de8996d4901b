"""The command `waggle`. Each command is a thin shell around a function that a test can call."""

import importlib
import sys

import click

from node.errors import NodeError
from node.log import one_line
from processors.errors import EngineError, GenesisError
from state.errors import StateError

#: Where each command lives; it is imported when it is needed, so that a short one starts at once.
COMMANDS = {
    "approve": "node.cli.approve:approve",
    "archive": "node.cli.archive:archive",
    "at": "node.cli.at:at_command",
    "bisect": "node.cli.bisect:bisect_command",
    "cancel": "node.cli.gov:cancel",
    "completion": "node.cli.completion:completion",
    "devnet": "node.cli.devnet:devnet",
    "diff": "node.cli.diff:diff",
    "doctor": "node.cli.doctor:doctor",
    "explain": "node.cli.explain:explain_command",
    "genesis": "node.cli.genesis:genesis",
    "gov": "node.cli.gov:gov",
    "halt": "node.cli.gov:halt",
    "hold": "node.cli.gov:hold",
    "init": "node.cli.init:init",
    "inspect": "node.cli.inspect:inspect_command",
    "join": "node.cli.membership:join",
    "journal": "node.cli.journal:journal",
    "keys": "node.cli.keys:keys",
    "leave": "node.cli.membership:leave",
    "pending": "node.cli.gov:pending",
    "propose": "node.cli.propose:propose",
    "prove": "node.cli.prove:prove_command",
    "replay": "node.cli.replay:replay_command",
    "resume": "node.cli.gov:resume",
    "rewind": "node.cli.state:rewind",
    "run": "node.cli.run:run",
    "signer": "node.cli.signer:signer",
    "sim": "node.cli.sim:sim",
    "snapshot": "node.cli.snapshots:snapshot",
    "status": "node.cli.status:status",
    "unpropose": "node.cli.propose:unpropose",
    "verify-proof": "node.cli.prove:verify_command",
    "veto": "node.cli.propose:veto",
    "vote": "node.cli.propose:vote",
}


class _Lazy(click.Group):
    """A group whose commands are imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        found: click.Command = getattr(importlib.import_module(module), name)
        return found


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="waggle")
def cli() -> None:
    """Waggle: a group holds one Hive account together, with no one in charge.

    Try it:  waggle devnet       Run a node:  waggle init, waggle doctor, waggle run, waggle join
    """


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
        sys.exit("waggle: the genesis cannot be used:\n" + "\n".join(f"  {one_line(p)}" for p in error.problems))
    except (NodeError, EngineError, StateError) as error:
        sys.exit("waggle: " + "\n".join(map(one_line, str(error).splitlines())))  # it may quote a stranger
