"""Drives LibreOffice by UNO; run by the system's Python, which has its bridge, not by that of the tests.

`python3 libreoffice_session.py PIPE FOLDER_URL`: soffice already listens on the pipe. A document is made on the
drive, saved again, saved under another name, and opened by a second view while the first has it. Prints what it saw.
"""

import contextlib
import sys
import time

import uno
from com.sun.star.beans import PropertyValue
from com.sun.star.connection import NoConnectException
from com.sun.star.lang import DisposedException

_PATIENCE = 150  # seconds until soffice listens: on a busy machine its first start alone took 20


def connect(pipe):
    """The desktop of the soffice behind `pipe`."""
    local = uno.getComponentContext()
    resolver = local.ServiceManager.createInstanceWithContext("com.sun.star.bridge.UnoUrlResolver", local)
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        try:
            context = resolver.resolve(f"uno:pipe,name={pipe};urp;StarOffice.ComponentContext")
            return context.ServiceManager.createInstanceWithContext("com.sun.star.frame.Desktop", context)
        except NoConnectException:
            time.sleep(0.1)
    raise SystemExit("soffice does not listen")


def opened(desktop, url):
    """A document without a window."""
    hidden = PropertyValue("Hidden", 0, True, 0)
    document = desktop.loadComponentFromURL(url, "_blank", 0, (hidden,))
    if document is None:
        raise SystemExit(f"could not open {url}")
    return document


def main(pipe, folder):
    desktop = connect(pipe)
    try:
        made = opened(desktop, "private:factory/swriter")
        made.Text.setString("first")
        made.storeAsURL(folder + "doc.odt", ())
        made.close(True)
        document = opened(desktop, folder + "doc.odt")
        print("opened", document.Text.getString(), "read-only" if document.isReadonly() else "writable")
        for text in ("second", "third"):
            document.Text.setString(text)
            document.store()
            print("saved", text)
        document.storeAsURL(folder + "other name.odt", ())
        print("saved as", document.getURL().rpartition("/")[2])
        document.close(True)
        again = opened(desktop, folder + "doc.odt")
        print("opened", again.Text.getString())
        again.close(True)
    finally:
        with contextlib.suppress(DisposedException):  # it may be gone before it has answered
            desktop.terminate()


if __name__ == "__main__":
    main(*sys.argv[1:])
