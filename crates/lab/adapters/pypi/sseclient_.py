"""sseclient, which reconnects."""

from sseclient import SSEClient
from report import URL, report

for message in SSEClient(URL):
    report(message.event, message.data, message.id)
