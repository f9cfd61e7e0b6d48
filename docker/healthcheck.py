"""Exit 0 if the service in this container is ready, 1 if not."""

import os
import sys
from urllib.error import URLError
from urllib.request import urlopen

try:
    with urlopen(f"http://127.0.0.1:{os.environ['PORT']}/readyz", timeout=2) as response:
        sys.exit(response.status != 200)
except (URLError, TimeoutError) as error:
    sys.exit(f"not ready: {error}")
