"""`kelp policy` against a real drive, while a process that has it open looks on."""

from __future__ import annotations

import json
import time

from tests.rooms.test_cli import Run, drive, one_line, run, someone
from vfs.core import Kelp
from vfs.errors import AddressDenied
from vfs.model import Peer
from vfs.operations import doorkeeping

__all__ = ["drive", "run", "someone"]  # fixtures


def is_out(kelp: Kelp, address: str, *, soon: bool) -> bool:
    """Whether he is out, once that is as expected; how long it may take at most, test_gate.py knows."""
    deadline = time.monotonic() + 30.0
    while True:
        try:
            doorkeeping.let_in(kelp, Peer(address, True, False), "dav")
            out = False
        except AddressDenied:
            out = True
        if out is soon or time.monotonic() > deadline:
            return out
        time.sleep(0.05)


def test_a_server_that_runs_has_it_soon_and_force_can_be_undone(run: Run, drive: Kelp) -> None:
    assert run("policy", "list").out == ""
    assert not is_out(drive, "203.0.113.9", soon=False)
    assert run("policy", "add", "scanners", "black", "203.0.113.0/24").out.startswith("added scanners: black, enabled")
    assert is_out(drive, "203.0.113.9", soon=True)
    refused = run("policy", "add", "nobody", "white")
    assert refused.code == 1 and "--force" in refused.err.splitlines()[-1]  # lines of the log before it
    assert run("policy", "add", "nobody", "white", "--force").code == 0
    assert is_out(drive, "192.0.2.7", soon=True)
    assert run("policy", "disable", "nobody").code == 0
    assert not is_out(drive, "192.0.2.7", soon=False)
    assert run("policy", "remove", "scanners").code == 0
    assert not is_out(drive, "203.0.113.9", soon=False)


def test_policies_and_rules_are_shown_and_changed(run: Run, drive: Kelp) -> None:
    run("policy", "add", "office", "white", "192.0.2.0/24", "--disabled")
    assert run("policy", "rule", "add", "office", "2001:db8::1", "--note", "the printer").code == 0
    assert run("policy", "rename", "office", "bureau").code == 0
    ((name, kind, state, rules, _since),) = run("policy", "list").rows
    assert (name, kind, state, rules) == ("bureau", "white", "disabled", "192.0.2.0/24, 2001:db8::1/128")
    assert run("policy", "check", "198.51.100.1").code == 0
    assert run("policy", "enable", "bureau").code == 0
    answer = run("policy", "check", "198.51.100.1")
    assert answer.code == 1 and answer.out == "198.51.100.1 is refused (NOT_WHITE_LISTED)\n"
    assert "bureau has 192.0.2.0/24" in run("policy", "check", "::ffff:192.0.2.9").out
    assert run("policy", "rule", "remove", "bureau", "192.0.2.0/24").code == 0
    facts = json.loads(run("policy", "list", "--json").out)
    assert facts[0]["rules"] == [{"cidr": "2001:db8::1/128", "note": "the printer"}]


def test_what_is_wrong_is_told_in_one_line(run: Run, drive: Kelp) -> None:
    run("policy", "add", "office", "white", "192.0.2.0/24")
    for arguments in (
        ("add", "office", "black"),
        ("add", "new", "black", "192.0.2.7/24"),
        ("remove", "nobody"),
        ("rule", "remove", "office", "203.0.113.9"),
        ("rule", "add", "office", "192.0.2.0/24"),
        ("rule", "remove", "office", "192.0.2.0/24"),
        ("check", "nowhere"),
    ):
        answer = run("policy", *arguments)
        assert answer.code == 1 and one_line(answer.err), arguments
