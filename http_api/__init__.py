"""The REST face: everything the drive can do, for programs (spec §8)."""
