"""Listens with httpx-sse over httpx, which leave reconnecting to their caller. Prints each roll as
`id data`, each other event as `name data`, and `empty` for an event without data.
"""

import json
import sys

import httpx
from httpx_sse import connect_sse

from reconnect import reconnect

client = httpx.Client(timeout=None)


def listen(last_event_id):
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    try:
        with connect_sse(client, "GET", sys.argv[1], headers=headers) as source:
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


reconnect(listen)
