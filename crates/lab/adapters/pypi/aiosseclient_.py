"""aiosseclient, which does not reconnect."""

import asyncio

from aiosseclient import aiosseclient
from report import URL, report


async def main():
    async for event in aiosseclient(URL):
        report(event.event, event.data, event.id)


asyncio.run(main())
