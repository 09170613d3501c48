"""Policies by REST, and what they do on every path that a network reaches. Addresses are those of the loopback net."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Callable, Iterator

import pytest

from tests.faces.api.conftest import Api
from tests.faces.conftest import Reply, ServedDrive
from vfs.operations import policies
from vfs.operations.access import system_caller
from vfs.operations.policies import Author

ME, STRANGER, NEIGHBOUR = "127.0.0.1", "127.66.0.9", "127.66.0.10"


@pytest.fixture(autouse=True)
def no_policies(shared_drive: ServedDrive) -> Iterator[None]:
    yield
    remove_all(shared_drive)


def remove_all(drive: ServedDrive) -> None:
    caller = system_caller(drive.kelp)
    for policy in policies.every(drive.kelp, caller):
        policies.delete(drive.kelp, Author(caller), policy.uuid)


def ask_from(address: str, drive: ServedDrive, method: str, path: str, **headers: str) -> Reply:
    """One request by a client of that address."""
    sent = {"Authorization": drive.basic(), **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection = http.client.HTTPConnection("127.0.0.1", drive.port, timeout=60, source_address=(address, 0))
    with contextlib.closing(connection):
        connection.request(method, path, b"body" if method in ("PUT", "POST") else None, sent)
        answer = connection.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


PATHS = [
    ("GET", "/"), ("OPTIONS", "/"), ("PROPFIND", "/dav/"), ("OPTIONS", "/dav/"), ("PUT", "/dav/a.txt"),
    ("GET", "/dav/missing"), ("LOCK", "/dav/a.txt"), ("PROPPATCH", "/dav/"), ("MKCOL", "/dav/x"), ("BREW", "/dav/"),
    ("GET", "/dav/%00"), ("GET", "/connect"), ("GET", "/connect/kelp.reg"), ("GET", "/metrics"), ("GET", "//healthz"),
    ("GET", "/api"), ("GET", "/api/folders/root"), ("GET", "/api/openapi.json"), ("GET", "/api/nothing"),
    ("OPTIONS", "/api/folders/root"), ("POST", "/api/ip-policies"), ("GET", "/api/ip-policies/check"),
]  # fmt: skip


def test_a_stranger_is_refused_on_every_path_before_he_is_asked_who_he_is(api: Api) -> None:
    assert api.post("/ip-policies", json=_black(STRANGER))[0] == 201
    for method, path in PATHS:
        for authorization in (api.drive.basic(), "Basic eDp5", ""):
            reply = ask_from(STRANGER, api.drive, method, path, Authorization=authorization)
            assert reply.status == 403, (method, path)
            assert "www-authenticate" not in reply.headers
            assert reply.headers["x-request-id"]
            if f"{path}/".startswith("/api/"):
                body = json.loads(reply.body)
                assert (body["error"], body["reason"]) == ("IP_DENIED", "BLACK_LISTED")
                assert STRANGER in body["message"]
                assert body["traceId"] == reply.headers["x-request-id"]
            else:
                assert reply.headers["content-type"].startswith("text/plain")
                assert STRANGER in reply.text
    assert not api.exists("a.txt")
    for path in ("/healthz", "/readyz", "/healthz?x=1"):
        assert ask_from(STRANGER, api.drive, "GET", path, Authorization="").status == 200
    assert ask_from(NEIGHBOUR, api.drive, "PROPFIND", "/dav/", Depth="0").status == 207
    remove_all(api.drive)
    assert ask_from(STRANGER, api.drive, "PROPFIND", "/dav/", Depth="0").status == 207


def test_the_refusals_are_counted(api: Api) -> None:
    api.post("/ip-policies", json=_black(STRANGER))
    for path in ("/dav/", "/api/folders/root"):
        ask_from(STRANGER, api.drive, "GET", path)
    page = api.drive.ask("GET", "/metrics").text
    assert 'kelp_denied_total{face="dav",reason="BLACK_LISTED"}' in page
    assert 'kelp_denied_total{face="rest",reason="BLACK_LISTED"}' in page


def test_in_korean(api: Api) -> None:
    api.post("/ip-policies", json=_black(STRANGER))
    reply = ask_from(STRANGER, api.drive, "GET", "/api/folders/root", Accept_Language="ko")
    assert "허용되지 않은" in json.loads(reply.body)["message"]


def test_a_policy_from_its_beginning_to_its_end(api: Api) -> None:
    given = {"name": "office", "kind": "white", "enabled": False, "rules": [{"cidr": f"{ME}", "note": "me"}]}
    status, made = api.post("/ip-policies", json=given)
    policy = made["policy"]
    assert (status, policy["name"], policy["kind"], policy["enabled"]) == (201, "office", "white", False)
    assert [(rule["cidr"], rule["note"]) for rule in policy["rules"]] == [("127.0.0.1/32", "me")]
    assert api.get("/ip-policies")[1]["policies"] == [policy]
    path = f"/ip-policies/{policy['id']}"
    assert api.get(path)[1]["policy"] == policy
    assert api.put(path, json={"enabled": True, "name": "bureau"})[1]["policy"]["enabled"] is True
    assert ask_from(STRANGER, api.drive, "GET", "/api/folders/root").status == 403
    status, added = api.post(f"{path}/rules", json={"cidr": "127.66.0.0/24"})
    assert (status, added["rule"]["cidr"]) == (201, "127.66.0.0/24")
    assert ask_from(STRANGER, api.drive, "GET", "/api/folders/root").status == 200
    rule = f"{path}/rules/{added['rule']['id']}"
    assert api.put(rule, json={"cidr": "127.66.0.10", "note": "one"})[1]["rule"]["cidr"] == "127.66.0.10/32"
    assert api.get(rule)[1]["rule"]["note"] == "one"
    assert ask_from(STRANGER, api.drive, "GET", "/api/folders/root").status == 403
    assert ask_from(NEIGHBOUR, api.drive, "GET", "/api/folders/root").status == 200
    assert api.delete(rule) == (200, {"success": True})
    assert len(api.get(f"{path}/rules")[1]["rules"]) == 1
    assert api.delete(path) == (200, {"success": True})
    assert api.get(path)[0] == 404
    assert ask_from(STRANGER, api.drive, "GET", "/api/folders/root").status == 200


def test_an_admin_does_not_shut_himself_out_but_by_force(api: Api) -> None:
    status, refused = api.post("/ip-policies", json={"name": "w", "kind": "white", "rules": [{"cidr": STRANGER}]})
    assert (status, refused["error"]) == (409, "IP_LOCKOUT")
    assert ME in refused["message"]
    made = api.post("/ip-policies", json={"name": "w", "kind": "white", "rules": [{"cidr": ME}]})[1]["policy"]
    path = f"/ip-policies/{made['id']}"
    mine = f"{path}/rules/{made['rules'][0]['id']}"
    assert api.delete(mine)[0] == 409
    assert api.put(mine, json={"cidr": STRANGER})[0] == 409
    assert api.put(path, json={"kind": "black"})[0] == 409
    assert api.get("/folders/root")[0] == 200
    assert api.delete(f"{mine}?force=true")[0] == 200
    assert api.get("/folders/root")[0] == 403


def test_the_check(api: Api) -> None:
    api.post("/ip-policies", json=_black(STRANGER))
    _, own = api.get("/ip-policies/check", user="viewer")
    assert own == {"success": True, "address": ME, "allowed": True, "reason": "NOT_BLACK_LISTED"}
    _, other = api.get(f"/ip-policies/check?address={STRANGER}")
    assert (other["allowed"], other["reason"]) == (False, "BLACK_LISTED")
    assert (other["decidedBy"]["policyName"], other["decidedBy"]["cidr"]) == ("strangers", f"{STRANGER}/32")
    assert api.get(f"/ip-policies/check?address={STRANGER}", user="other")[1]["error"] == "FORBIDDEN"
    assert api.get("/ip-policies/check?address=x")[1]["error"] == "INVALID_REQUEST"


WRONG: list[tuple[str, str, object, int]] = [
    ("POST", "/ip-policies", {"name": "a", "kind": "grey"}, 400),
    ("POST", "/ip-policies", {"name": "a", "kind": "white", "rules": [{"cidr": "10.0.0.1/8"}]}, 400),
    ("POST", "/ip-policies", {"name": "\ud800", "kind": "black"}, 400),
    ("POST", "/ip-policies", {"name": "a", "kind": "black", "more": 1}, 400),
    ("PUT", "/ip-policies/nobody", {"enabled": True}, 404),
    ("DELETE", "/ip-policies/nobody", None, 404),
    ("POST", "/ip-policies/nobody/rules", {"cidr": "192.0.2.1"}, 404),
    ("DELETE", "/ip-policies/nobody/rules/nothing", None, 404),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), WRONG)
def test_what_is_wrong(api: Api, method: str, path: str, body: object, status: int) -> None:
    assert api.ask(method, path, json_=body).status == status


def test_what_is_there_already_and_what_others_may(api: Api) -> None:
    made = api.post("/ip-policies", json=_black(STRANGER))[1]["policy"]
    assert api.post("/ip-policies", json=_black(STRANGER))[1]["error"] == "CONFLICT"
    rules = f"/ip-policies/{made['id']}/rules"
    assert api.post(rules, json={"cidr": f"{STRANGER}/32"})[1]["error"] == "CONFLICT"
    for user in ("other", "viewer"):
        assert api.get("/ip-policies", user=user)[0] == 403
        assert api.post(rules, json={"cidr": ME}, user=user)[0] == 403


def test_behind_proxies(served_with: Callable[..., ServedDrive]) -> None:
    """127.0.0.2 is trusted, 127.0.0.3 is not; both forward what a client of theirs may have written."""
    drive = served_with(server_trusted_proxies=("127.0.0.2",), auth_allow_plain_http=True)
    api = Api(drive)

    def status(peer: str, **headers: str) -> int:
        return ask_from(peer, drive, "GET", "/api/folders/root", **headers).status

    assert status("127.0.0.3", X_Forwarded_For="203.0.113.9") == 200  # no policy, nobody asks
    assert api.post("/ip-policies", json=_black("203.0.113.9"))[0] == 201
    assert status("127.0.0.2", X_Forwarded_For="203.0.113.9") == 403
    assert status("127.0.0.2", X_Forwarded_For="198.51.100.1") == 200
    assert status("127.0.0.2", X_Forwarded_For="198.51.100.1, 203.0.113.9") == 403  # the first one he wrote himself
    assert status("127.0.0.2", X_Forwarded_For="203.0.113.9, 198.51.100.1") == 200
    assert status("127.0.0.2", Forwarded='for="[::ffff:203.0.113.9]:4711"') == 403
    assert status("127.0.0.2", X_Forwarded_For="unknown") == 403
    assert status("127.0.0.2", X_Forwarded_Proto="https") == 403  # it does not say for whom
    assert status("127.0.0.2") == 200  # somebody on that machine
    assert status("127.0.0.3", X_Forwarded_For="198.51.100.1") == 403
    assert status("127.0.0.3", Forwarded="for=198.51.100.1") == 403
    assert status("127.0.0.3") == 200
    reply = ask_from("127.0.0.3", drive, "PROPFIND", "/dav/", X_Forwarded_For="198.51.100.1")
    assert reply.status == 403
    assert "proxy" in reply.text
    assert ask_from("127.0.0.3", drive, "GET", "/healthz", X_Forwarded_For="198.51.100.1").status == 200


def _black(cidr: str) -> dict[str, object]:
    return {"name": "strangers", "kind": "black", "rules": [{"cidr": cidr}]}
