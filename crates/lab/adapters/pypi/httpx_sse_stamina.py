"""httpx-sse, which reconnects with stamina as its own documentation shows."""

import time

import httpx
from httpx_sse import connect_sse
from stamina import retry
from report import URL, report


def iter_sse_retrying(client, method, url):
    last_event_id = ""
    reconnection_delay = 0.0

    @retry(on=httpx.ReadError)
    def _iter_sse():
        nonlocal last_event_id, reconnection_delay
        time.sleep(reconnection_delay)
        headers = {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        with connect_sse(client, method, url, headers=headers) as event_source:
            for sse in event_source.iter_sse():
                last_event_id = sse.id
                if sse.retry is not None:
                    reconnection_delay = sse.retry / 1000
                yield sse

    return _iter_sse()


with httpx.Client() as client:
    for sse in iter_sse_retrying(client, "GET", URL):
        report(sse.event, sse.data, sse.id)
