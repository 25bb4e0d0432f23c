"""sseclient, which reconnects."""

from sseclient import SSEClient
from tell import URL, tell

for message in SSEClient(URL):
    tell(message.event, message.data, message.id)
