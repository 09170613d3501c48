"""`kelp policy`: who may come, by network address. The command line is never kept out: it can undo all."""

from __future__ import annotations

import click

from cli.display import say, show_json, show_rows, time_in_words
from cli.drive import on_drive, operator
from vfs.addresses import PolicyKind, canonical
from vfs.core import Kelp
from vfs.errors import NotFound
from vfs.operations import policies
from vfs.operations.policies import Author, Change, NewRule

_KIND = click.Choice([kind.value for kind in PolicyKind])
_force = click.option("--force", is_flag=True, help="also when nobody at all could come any more")


@click.group("policy")
def policy() -> None:
    """White and black lists of network addresses: who may come, before anybody logs in.

    While a white list is enabled, an address must be in one; what is on a black list stays out. Every server knows a
    change within two seconds.
    """


@policy.command("list")
@click.option("--json", "as_json", is_flag=True, help="answer in JSON")
@on_drive
def list_(kelp: Kelp, as_json: bool) -> None:
    """Show all policies with their rules."""
    found = policies.every(kelp, operator(kelp))
    if as_json:
        show_json([
            {
                "name": each.name, "kind": each.kind.value, "enabled": each.enabled,
                "rules": [{"cidr": rule.cidr, "note": rule.note} for rule in each.rules],
            }
            for each in found
        ])  # fmt: skip
        return
    rows = (
        (
            each.name,
            each.kind.value,
            "enabled" if each.enabled else "disabled",
            ", ".join(rule.cidr for rule in each.rules) or "-",
            time_in_words(each.created_ns),
        )
        for each in found
    )
    show_rows(("name", "kind", "state", "rules", "since"), rows, empty="There is no policy: everybody may come.")


@policy.command("add")
@click.argument("name")
@click.argument("kind", type=_KIND)
@click.argument("networks", nargs=-1, metavar="[NETWORK]...")
@click.option("--disabled", is_flag=True, help="only make it, for `kelp policy enable` later")
@_force
@on_drive
def add(kelp: Kelp, name: str, kind: str, networks: tuple[str, ...], disabled: bool, force: bool) -> None:
    """Make a white or black list NAME of NETWORKs, such as 192.0.2.0/24 or 2001:db8::1."""
    rules = [NewRule(network) for network in networks]
    made = policies.create(kelp, _author(kelp, force), name, PolicyKind(kind), rules, enabled=not disabled)
    say(f"added {made.name}: {kind}, {'disabled' if disabled else 'enabled'}, rules: {len(made.rules)}")


@policy.command("enable")
@click.argument("name")
@_force
@on_drive
def enable(kelp: Kelp, name: str, force: bool) -> None:
    """Let the policy NAME count."""
    _update(kelp, name, Change(enabled=True), force)
    say(f"enabled {name}")


@policy.command("disable")
@click.argument("name")
@_force
@on_drive
def disable(kelp: Kelp, name: str, force: bool) -> None:
    """Keep the policy NAME, and let it count no more."""
    _update(kelp, name, Change(enabled=False), force)
    say(f"disabled {name}")


@policy.command("rename")
@click.argument("name")
@click.argument("new_name")
@on_drive
def rename(kelp: Kelp, name: str, new_name: str) -> None:
    """Call the policy NAME by another name."""
    _update(kelp, name, Change(name=new_name), force=True)  # nobody is shut out by a name
    say(f"renamed {name} to {new_name}")


@policy.command("remove")
@click.argument("name")
@_force
@on_drive
def remove(kelp: Kelp, name: str, force: bool) -> None:
    """Remove the policy NAME with its rules."""
    author = _author(kelp, force)
    policies.delete(kelp, author, policies.named(kelp, author.caller, name).uuid)
    say(f"removed {name}")


@policy.command("check")
@click.argument("address")
@on_drive
def check(kelp: Kelp, address: str) -> None:
    """Tell whether ADDRESS may come, and why. Exit code 1: it may not."""
    shown, verdict = policies.check(kelp, operator(kelp), address, None)
    by = f": {verdict.match.policy.name} has {verdict.match.rule.cidr}" if verdict.match else ""
    say(f"{shown} {'may come' if verdict.allowed else 'is refused'} ({verdict.reason.value}{by})")
    if not verdict.allowed:
        raise click.exceptions.Exit(1)


@policy.group("rule")
def rule() -> None:
    """The networks of a policy."""


@rule.command("add")
@click.argument("name")
@click.argument("network")
@click.option("--note", default="", metavar="TEXT", help="what it is for")
@_force
@on_drive
def add_rule(kelp: Kelp, name: str, network: str, note: str, force: bool) -> None:
    """Add NETWORK to the policy NAME."""
    author = _author(kelp, force)
    found = policies.named(kelp, author.caller, name)
    made = policies.add_rule(kelp, author, found.uuid, NewRule(network, note))
    say(f"added {made.cidr} to {name}")


@rule.command("remove")
@click.argument("name")
@click.argument("network")
@_force
@on_drive
def remove_rule(kelp: Kelp, name: str, network: str, force: bool) -> None:
    """Remove NETWORK from the policy NAME."""
    author, cidr = _author(kelp, force), canonical(network)
    found = policies.named(kelp, author.caller, name)
    known = next((each for each in found.rules if each.cidr == cidr), None)
    if known is None:
        raise NotFound(f"{cidr} is not in {name}")
    policies.delete_rule(kelp, author, found.uuid, known.uuid)
    say(f"removed {cidr} from {name}")


def _update(kelp: Kelp, name: str, change: Change, force: bool) -> None:
    author = _author(kelp, force)
    policies.update(kelp, author, policies.named(kelp, author.caller, name).uuid, change)


def _author(kelp: Kelp, force: bool) -> Author:
    return Author(operator(kelp), force=force)
