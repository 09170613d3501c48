"""Models that several nouns share. Names in JSON are camelCase, as in the seeds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from vfs.model import StoreStatus


class Model(BaseModel):
    """An answer, or a part of one. What was not set is left out; what was set to None is null."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Body(Model):
    """What a client sends. Unknown members are refused, so that a misspelt one is not ignored in silence."""


class Query(BaseModel):
    """A query string, as Falcon gives it."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class StorageStatus(Model):
    """What each store has (spec §8). `null`: it has nothing of it, such as the cache of a folder."""

    cache: StoreStatus | None
    nas: StoreStatus | None


class ErrorBody(Model):
    """What every refusal looks like; `error` is the code, `message` is for people, in their language."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True)

    error: str
    message: str
    trace_id: str = Field(description="under which it stands in the log")


class Done(Model):
    success: Literal[True] = True


def time_of(ns: int) -> datetime:
    """Microseconds are what JSON's readers know."""
    return datetime.fromtimestamp(ns // 1_000 / 1_000_000, UTC)


def ns_of(time: datetime) -> int:
    """Of an aware time, to the microsecond."""
    since = time - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
