"""requests-sse, which reconnects."""

from requests_sse import EventSource
from tell import URL, tell

with EventSource(URL) as source:
    for event in source:
        tell(event.type, event.data, event.last_event_id)
