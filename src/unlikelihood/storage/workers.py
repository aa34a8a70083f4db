"""Worker processes that end with the process they work for."""

import multiprocessing
import os
import threading
import time
from functools import cache

INTERVAL = 0.5  # seconds


@cache
def follow_parent() -> None:
    """Let this process, if it is one of joblib's workers, end soon after the one it works for, however that ended.

    A pool ends its workers when it is closed, which a killed process cannot do: they would go on for minutes.
    """
    parent = os.getppid()
    if "loky" not in type(multiprocessing.current_process()).__module__:
        return

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(INTERVAL)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
