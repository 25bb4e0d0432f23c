"""sseclient-py, a parser, with requests. It has the same module name as sseclient."""

import os
import sys

import requests
from report import URL, report

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../target/sseclient-py"))
from sseclient import SSEClient  # noqa: E402

response = requests.get(URL, stream=True, headers={"Accept": "text/event-stream"})
for event in SSEClient(response).events():
    report(event.event, event.data, event.id)
