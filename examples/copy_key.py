#!/usr/bin/env python3
"""Copies a key from one node to another: GET on one, SET on the other. Each node is an Esker or a Redis.

    copy_key.py SOURCE TARGET KEY        for example: copy_key.py localhost:6379 localhost:7000 greeting
"""

import sys

import redis


def connect(address):
    host, port = address.rsplit(":", 1)
    return redis.Redis(host=host, port=int(port))


def copy_key(source, target, key):
    value = source.get(key)
    if value is None:
        return False
    target.set(key, value)
    return True


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    if not copy_key(connect(sys.argv[1]), connect(sys.argv[2]), sys.argv[3]):
        sys.exit(f"there is no key {sys.argv[3]} on {sys.argv[1]}")
