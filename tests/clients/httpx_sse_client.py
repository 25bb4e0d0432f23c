"""Listens with httpx-sse over httpx, which leave it to their caller to reconnect with the last event
id. Prints each roll as `id data`, each other event as `name data`, and `empty` for an event without
data.
"""

import json
import os
import sys
import threading
import time

import httpx
from httpx_sse import connect_sse


def end_with_the_test():
    sys.stdin.read()
    os._exit(0)


def listen(client, url, last_event_id):
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    try:
        with connect_sse(client, "GET", url, headers=headers) as source:
            for event in source.iter_sse():
                if not event.data:
                    print("empty", flush=True)
                elif event.event == "message":
                    json.loads(event.data)
                    last_event_id = event.id
                    print(event.id, event.data, flush=True)
                else:
                    print(event.event, event.data, flush=True)
    except httpx.TransportError as error:
        print(error, file=sys.stderr, flush=True)
    return last_event_id


threading.Thread(target=end_with_the_test, daemon=True).start()
client = httpx.Client(timeout=None)
last_event_id = None
while True:
    last_event_id = listen(client, sys.argv[1], last_event_id)
    time.sleep(0.1)
