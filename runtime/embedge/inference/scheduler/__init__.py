"""One scheduler for the requests of asyncio: slots for the cores, a bounded queue, and batches that requests share."""
