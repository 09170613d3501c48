"""WsgiDAV on cheroot as it comes, serving a folder: `python -m bench.plain_wsgidav FOLDER PORT`."""

from __future__ import annotations

import sys

from cheroot.wsgi import Server
from wsgidav.fs_dav_provider import FilesystemProvider
from wsgidav.wsgidav_app import WsgiDAVApp

from bench.client import PASSWORD, USER


def main() -> None:
    folder, port = sys.argv[1], int(sys.argv[2])
    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": FilesystemProvider(folder)},
            "simple_dc": {"user_mapping": {"*": {USER: {"password": PASSWORD}}}},
            "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
            "lock_storage": True,
            "property_manager": True,
            "verbose": 1,
            "logging": {"enable": False},
        }
    )
    server = Server(("127.0.0.1", port), app, numthreads=16)
    try:
        server.start()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
