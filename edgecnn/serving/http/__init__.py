"""A small, strict HTTP/1.1 server on asyncio."""
