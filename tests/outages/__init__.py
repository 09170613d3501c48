"""The NAS goes away in every way it can, under steady load; `python -m tests.outages` reports the times."""
