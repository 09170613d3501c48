"""The WebDAV face: translates between HTTP and the core's operations, and decides nothing.

The way of a request: `http_server` → `http_connection` → `http_exchange` → `app` (catch-all) → `caller` (who) →
`provider` or `front` (which method) → one handler in `upload`, `download`, `listing`, `moving`, `locking` or
`properties` → one call of `vfs.operations`. Errors become statuses in `errors`.
"""
