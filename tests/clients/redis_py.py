"""What programs do with redis-py: run by tests/clients, with a port and a protocol version."""

import sys

import redis

port, protocol = int(sys.argv[1]), int(sys.argv[2])
r = redis.Redis(port=port, protocol=protocol)
r.flushall()

assert r.ping()
assert r.set("key", "value") is True
assert r.get("key") == b"value"
assert r.get("none") is None
assert r.set("key", "other", nx=True) is None
assert r.set("key", "new", get=True) == b"value"
assert r.set("short", "lived", ex=100) and 90 < r.ttl("short") <= 100
assert r.mset({"a": 1, "b": 2}) and r.mget("a", "b", "c") == [b"1", b"2", None]
assert r.incrby("a", 41) == 42 and r.incrbyfloat("f", 1.5) == 1.5
assert r.delete("a", "b", "c") == 2 and r.exists("key", "a") == 1
assert r.type("key") == b"string"
blob = bytes(range(256)) * 4000
r.set("blob", blob)
assert r.get("blob") == blob and r.strlen("blob") == len(blob) and r.getrange("blob", 255, 257) == b"\xff\x00\x01"

with r.pipeline(transaction=False) as pipe:
    for n in range(1000):
        pipe.set(f"n:{n}", n)
    assert all(pipe.execute())
assert sorted(r.scan_iter("n:*", count=50)) == sorted(f"n:{n}".encode() for n in range(1000))


def increment(pipe):
    n = int(pipe.get("n:1"))
    pipe.multi()
    pipe.set("n:1", n + 1)


r.transaction(increment, "n:1")
assert r.get("n:1") == b"2"

pubsub = r.pubsub()
pubsub.subscribe("news")
assert pubsub.get_message(timeout=10)["type"] == "subscribe"
assert r.publish("news", "hello") == 1
message = pubsub.get_message(timeout=10)
assert (message["channel"], message["data"]) == (b"news", b"hello"), message
pubsub.close()

try:
    r.incr("key")
    raise AssertionError("no error")
except redis.ResponseError as error:
    assert str(error) == "value is not an integer or out of range", error

assert r.info("server")["redis_version"].startswith("7.")
assert r.config_get("appendfsync") == {"appendfsync": "everysec"}
assert r.client_setname("tester") and r.client_getname() in (b"tester", "tester")
assert r.dbsize() == len(r.keys("*"))
assert r.object("encoding", "n:2") in (b"int", "int")
assert r.restore("restored", 0, r.dump("key")) and r.get("restored") == b"new"
print("passed")
