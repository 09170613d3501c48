"""Bytes, no database: the cache of objects and the NAS, each behind one small interface."""
