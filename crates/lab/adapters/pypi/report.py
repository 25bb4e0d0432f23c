"""Prints what a client reports, one JSON object a line."""

import json
import os

URL = os.environ["LAB_URL"]


def report(event, data, id=None):
    """Prints an event. Some clients report no name of a `message`, and no id."""
    said = {"event": "message" if event is None else event, "data": data}
    if id is not None:
        said["id"] = id
    print(json.dumps(said), flush=True)
