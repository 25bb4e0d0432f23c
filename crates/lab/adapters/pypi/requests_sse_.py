"""requests-sse, which reconnects."""

from requests_sse import EventSource
from report import URL, report

with EventSource(URL) as source:
    for event in source:
        report(event.type, event.data, event.last_event_id)
