"""`kelp status PATH`: one file or folder, where its bytes are, and what is between it and the NAS."""

from __future__ import annotations

from typing import Any

from cli.display import duration_in_words, show_rows, size_in_words, time_in_words
from vfs.core import Kelp
from vfs.model import Caller, Entry
from vfs.operations import describing
from vfs.operations.describing import LastEvent


def facts_of(kelp: Kelp, caller: Caller, entry: Entry) -> dict[str, Any]:
    found = describing.describe(kelp, caller, entry)
    return {
        "path": "/" + "/".join(found.path),
        "id": entry.uuid,
        "kind": entry.kind.value,
        "size": entry.size,
        "mtimeNs": entry.mtime_ns,
        "etag": entry.content_id,
        "cache": {status: {"objects": count, "bytes": size} for status, (count, size) in found.cached.items()},
        "nas": entry.nas_status.value,
        "nasPath": found.nas_path,
        "change": _event_facts(found.event),
        "versions": [{"id": one.uuid, "size": one.size, "createdNs": one.created_ns} for one in found.versions],
        "locks": [
            {"user": lock.user_name, "path": "/" + "/".join(where), "expiresNs": lock.expires_ns}
            for lock, where in found.locks
        ],
        "readers": found.readers,
    }


def _event_facts(event: LastEvent | None) -> dict[str, Any] | None:
    if event is None:
        return None
    return {
        "id": event.uuid,
        "type": event.event_type,
        "status": event.status,
        "retries": event.retries,
        "error": event.error,
        "trace": event.trace_id,
        "createdNs": event.created_ns,
        "doneNs": event.processed_ns,
        "dueNs": event.scheduled_ns,
    }


def show(kelp: Kelp, facts: dict[str, Any]) -> None:
    rows = [("path", facts["path"]), ("id", facts["id"]), ("kind", facts["kind"])]
    if facts["kind"] != "folder":
        rows += [("size", size_in_words(facts["size"])), ("changed", time_in_words(facts["mtimeNs"]))]
        rows.append(("cache", _cache_in_words(facts)))
    rows.append(("NAS", facts["nas"] if facts["nasPath"] is None else f"{facts['nas']}, {facts['nasPath'] or '/'}"))
    if facts["change"] is not None:
        rows += _change_rows(facts["change"], kelp.clock.now_ns())
    if facts["versions"]:
        size = size_in_words(sum(each["size"] for each in facts["versions"]))
        rows.append(("versions", f"{len(facts['versions'])}, {size}; `kelp versions` lists them"))
    rows += [("lock", f"{each['user']}, until {time_in_words(each['expiresNs'])}") for each in facts["locks"]]
    if facts["readers"]:
        rows.append(("read by", ", ".join(facts["readers"])))
    show_rows(("", ""), rows, empty="")


def _cache_in_words(facts: dict[str, Any]) -> str:
    shares = facts["cache"]
    if not shares:
        return "nothing to hold" if not facts["size"] else "not there"
    if shares.keys() == {"AVAILABLE"}:
        return "AVAILABLE"
    return ", ".join(f"{size_in_words(each['bytes'])} {status}" for status, each in sorted(shares.items()))


def _change_rows(change: dict[str, Any], now_ns: int) -> list[tuple[str, str]]:
    when = time_in_words(change["createdNs"])
    rows = [("last change", f"{change['type']}, {when}, {change['status']}, {change['trace']}")]
    if change["retries"]:
        rows.append(("retries", str(change["retries"])))
    if change["error"] and change["status"] != "DONE":
        rows.append(("error", change["error"]))
    if change["status"] == "PENDING" and change["dueNs"] > now_ns:
        rows.append(("next try", f"in {duration_in_words((change['dueNs'] - now_ns) / 1e9)}"))
    return rows
