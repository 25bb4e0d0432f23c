"""launchdarkly-eventsource. Its default gives up after an error; with `always_continue` it reconnects."""

import sys

from ld_eventsource import SSEClient
from ld_eventsource.config import ErrorStrategy
from report import URL, report

strategy = ErrorStrategy.always_continue() if "continue" in sys.argv else None
for event in SSEClient(connect=URL, error_strategy=strategy).events:
    report(event.event, event.data, event.last_event_id)
