"""httpx-sse, with httpx and its default timeouts."""

import httpx
from httpx_sse import connect_sse
from report import URL, report

with httpx.Client() as client, connect_sse(client, "GET", URL) as source:
    for sse in source.iter_sse():
        report(sse.event, sse.data, sse.id)
