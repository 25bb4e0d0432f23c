"""aiohttp-sse-client, or with the argument 2 its successor aiohttp-sse-client2."""

import asyncio
import importlib
import sys

from report import URL, report

client = importlib.import_module(f"aiohttp_sse_client{''.join(sys.argv[1:])}.client")


async def main():
    async with client.EventSource(URL) as source:
        async for event in source:
            report(event.type, event.data, event.last_event_id)


asyncio.run(main())
