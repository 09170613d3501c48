"""The NAS: how it feels, how full it is, and what an admin may set."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from http_api.models import Body, Model, time_of
from http_api.routing import Ask, Reply, Route
from vfs.operations import nas_health, nas_settings, nas_state
from vfs.operations.nas_health import Feeling

_Seconds = Annotated[float, Field(ge=0.01, le=86_400, allow_inf_nan=False)]
_Wait = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
_Bytes = Annotated[int, Field(ge=0, lt=1 << 60)]
_Path = Annotated[str, Field(min_length=1, max_length=4096)]


class Measured(Model):
    at: datetime
    seconds: Annotated[float | None, Field(description="that a small file took; null: the NAS was down")]


class Health(Model):
    state: Feeling
    reason: Annotated[str, Field(description="why it is down; empty while it is not, and for others than admins")]
    since: Annotated[datetime | None, Field(description="since when it feels so; null: nobody has looked yet")]
    measurements: Annotated[list[Measured], Field(description="of a small file written and deleted, oldest first")]


class HealthAnswer(Model):
    success: Literal[True] = True
    health: Health


class Capacity(Model):
    """Bytes, as last measured."""

    total: int
    used: int
    free: int
    waiting: Annotated[int, Field(description="still to be carried there")]
    measured_at: datetime


class CapacityAnswer(Model):
    success: Literal[True] = True
    capacity: Annotated[Capacity | None, Field(description="null: it was never measured")]


class NasSettings(Model):
    """What counts now. Times are seconds."""

    root: Annotated[str, Field(description="where the NAS is mounted; a change counts from the next start on")]
    reserve: Annotated[int, Field(description="bytes of the NAS that stay free")]
    health: Annotated[float, Field(description="between two timed writes; a change counts from the next start on")]
    slow: Annotated[float, Field(description="that such a write may take before the NAS counts as slow")]
    delay: Annotated[float, Field(description="that temporary names live before they are carried to the NAS")]
    retries: Annotated[list[float], Field(description="before each further try of what could not be carried")]


class PendingSettings(Model):
    """What counts from the next start on; null: as the configuration says."""

    root: str | None = None
    health: float | None = None


class SettingsAnswer(Model):
    success: Literal[True] = True
    settings: NasSettings
    pending: PendingSettings


class SettingsBody(Body):
    """What is left out stays as it is; null: as the configuration says. `root` must be this drive's NAS."""

    root: _Path | None = None
    reserve: _Bytes | None = None
    health: Annotated[float, Field(ge=1, le=86_400, allow_inf_nan=False)] | None = None
    slow: _Seconds | None = None
    delay: _Wait | None = None
    retries: Annotated[list[_Wait], Field(max_length=20)] | None = None


def get_health(ask: Ask) -> Reply:
    found = nas_health.read(ask.kelp)
    return Reply(
        HealthAnswer(
            success=True,
            health=Health(
                state=found.feeling,
                reason=found.reason if ask.caller.administers else "",
                since=time_of(found.since_ns) if found.since_ns else None,
                measurements=[Measured(at=time_of(each.at_ns), seconds=each.seconds) for each in found.history],
            ),
        )
    )


def get_capacity(ask: Ask) -> Reply:
    found = nas_state.capacity(ask.kelp)
    if found is None:
        return Reply(CapacityAnswer(success=True, capacity=None))
    shown = Capacity(
        total=found.total,
        used=found.used,
        free=found.free,
        waiting=found.waiting,
        measured_at=time_of(found.measured_ns),
    )
    return Reply(CapacityAnswer(success=True, capacity=shown))


def get_settings(ask: Ask) -> Reply:
    return _settings(nas_settings.shown(ask.kelp, ask.caller))


def put_settings(ask: Ask) -> Reply:
    wanted: dict[str, Any] = ask.body(SettingsBody).model_dump(exclude_unset=True)
    return _settings(nas_settings.change(ask.kelp, ask.caller, wanted))


def _settings(found: nas_settings.Shown) -> Reply:
    now = found.settings
    shown = NasSettings(
        root=_text(now.root),
        reserve=now.reserve,
        health=now.health,
        slow=now.slow,
        delay=now.delay,
        retries=list(now.retries),
    )
    pending = PendingSettings.model_validate(dict(found.pending))
    return Reply(SettingsAnswer(success=True, settings=shown, pending=pending))


def _text(path: Path) -> str:
    """JSON has no bytes that are no UTF-8."""
    return str(path).encode("utf-8", "replace").decode()


ROUTES = (
    Route(
        *("GET", "/nas/health", get_health, "How the NAS feels, by a small file written every minute", "NAS"),
        answer=HealthAnswer,
    ),
    Route(*("GET", "/nas/capacity", get_capacity, "How full the NAS is", "NAS"), answer=CapacityAnswer),
    Route(*("GET", "/nas/settings", get_settings, "What counts for the NAS", "NAS"), answer=SettingsAnswer, admin=True),
    Route(
        *("PUT", "/nas/settings", put_settings, "Set some of it", "NAS"),
        body=SettingsBody, answer=SettingsAnswer, admin=True,
    ),
)  # fmt: skip
