"""Who uses the command line, as the audit names them."""

from __future__ import annotations

import getpass
import os

from core.audit import Actor
from core.plain_text import MAX_WHO_CHARACTERS


def actor() -> Actor:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may run as a number that has no name
        user = str(os.getuid())
    printable = "".join(c if c.isprintable() else "?" for c in user)
    return Actor(f"cli:{printable}"[:MAX_WHO_CHARACTERS])
