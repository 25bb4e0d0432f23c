"""aiosseclient, which does not reconnect."""

import asyncio

from aiosseclient import aiosseclient
from tell import URL, tell


async def main():
    async for event in aiosseclient(URL):
        tell(event.event, event.data, event.id)


asyncio.run(main())
