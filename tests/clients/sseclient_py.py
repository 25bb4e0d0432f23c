"""Listens with sseclient-py over urllib3, which leave reconnecting to their caller. It sends the
last event id, or none with `--forget`. Prints each roll as `id data` and each sync as `sync data`.
"""

import sys

import sseclient
import urllib3

from reconnect import reconnect

http = urllib3.PoolManager(retries=False)


def listen(last_event_id):
    headers = {"Accept": "text/event-stream"}
    if last_event_id and "--forget" not in sys.argv:
        headers["Last-Event-ID"] = last_event_id
    try:
        response = http.request("GET", sys.argv[1], headers=headers, preload_content=False)
        if response.status != 200:
            raise SystemExit(f"expected status 200, got {response.status}")
        for event in sseclient.SSEClient(response).events():
            if event.event == "message":
                last_event_id = event.id
                print(event.id, event.data, flush=True)
            else:
                print(event.event, event.data, flush=True)
    except urllib3.exceptions.HTTPError as error:
        print(error, file=sys.stderr, flush=True)
    return last_event_id


reconnect(listen)
