"""The FUSE face: the drive as a file system of Linux.

Like every face it translates, and decides nothing: a handler turns what the kernel asks into one call of
`vfs.operations`, and the answer into attributes or an errno. An inode is an entry's id.

Threads: handlers run in one trio loop. What may wait (a store, the NAS, a commit, PostgreSQL) runs in worker threads
(`bridge`); the loop itself answers only what SQLite or the memory gives at once.
"""
