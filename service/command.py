"""The command facemask-serve of the installed package: gunicorn with the settings that it needs."""

import sys
from importlib.resources import files

from gunicorn.app.wsgiapp import run


def main() -> None:
    """Serve until stopped, with the settings in the environment; takes no arguments."""
    own = ["-c", str(files("service.docker") / "gunicorn.conf.py")]
    if sys.argv[1:] not in ([], own):  # gunicorn starts its successor with its own
        sys.exit(
            f"facemask-serve takes no arguments, not {' '.join(sys.argv[1:])}. Its settings are "
            "environment variables, such as HOST=127.0.0.1 and PORT=8000; docs/settings.md "
            "explains them."
        )
    sys.argv[1:] = own
    run()
