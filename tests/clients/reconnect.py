"""The loop of the Python clients: it reconnects with the last event id, and ends with the test."""

import os
import sys
import threading
import time


def end_with_the_test():
    sys.stdin.read()
    os._exit(0)


def reconnect(listen):
    """Calls `listen` again and again. It takes the last event id and returns the new one."""
    threading.Thread(target=end_with_the_test, daemon=True).start()
    last_event_id = None
    while True:
        last_event_id = listen(last_event_id)
        time.sleep(0.1)
