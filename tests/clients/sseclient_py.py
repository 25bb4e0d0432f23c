"""Listens with sseclient-py over urllib3, which leave it to their caller to come back when a
stream breaks off: with the last event id, or with `--forget` without. Prints each roll as
`id data` and each sync as `sync data`.
"""

import os
import sys
import threading
import time

import sseclient
import urllib3


def end_with_the_tester():
    sys.stdin.read()
    os._exit(0)


def listen(http, url, last_event_id):
    headers = {"Accept": "text/event-stream"}
    if last_event_id and "--forget" not in sys.argv:
        headers["Last-Event-ID"] = last_event_id
    try:
        response = http.request("GET", url, headers=headers, preload_content=False)
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


threading.Thread(target=end_with_the_tester, daemon=True).start()
http = urllib3.PoolManager(retries=False)
last_event_id = None
while True:
    last_event_id = listen(http, sys.argv[1], last_event_id)
    time.sleep(0.1)
