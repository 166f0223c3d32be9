#!/usr/bin/env python3
"""Moves a key from one node to another: GET on one, SET on the other, DELETE on the first. Each node is an Esker or a Redis.

    migrate_key.py SOURCE TARGET KEY     for example: migrate_key.py localhost:6379 localhost:7000 greeting
"""

import sys

from copy_key import connect, copy_key


def migrate_key(source, target, key):
    if not copy_key(source, target, key):
        return False
    # Only now: whatever fails before, the key is still there.
    source.delete(key)
    return True


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    if not migrate_key(connect(sys.argv[1]), connect(sys.argv[2]), sys.argv[3]):
        sys.exit(f"there is no key {sys.argv[3]} on {sys.argv[1]}")
