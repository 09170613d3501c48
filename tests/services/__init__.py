"""Real servers that the tests start themselves, each in a folder of its own and on a free port of 127.0.0.1.

None outlives the process that started it: it is stopped when the block or the process ends, and the kernel tells it
when the process was killed. A server started elsewhere is used instead when an environment variable names it.
"""
