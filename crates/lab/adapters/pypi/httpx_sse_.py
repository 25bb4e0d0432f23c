"""httpx-sse, with httpx and its default timeouts."""

import httpx
from httpx_sse import connect_sse
from tell import URL, tell

with httpx.Client() as client, connect_sse(client, "GET", URL) as source:
    for sse in source.iter_sse():
        tell(sse.event, sse.data, sse.id)
