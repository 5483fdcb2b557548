"""How fast `kinesis-kit replay` is by itself: 16 shards, a million user records, and servers that have nothing to do.

Both stand-ins answer with bytes that are made beforehand: the shards' pages for Kinesis, "nothing failed" for the function.
Usage: bench/operator/replay.py KINESIS_KIT [USER_RECORDS]
"""

import base64
import hashlib
import json
import os
import re
import socket
import sys
import threading

from measured import ProgramFailed, run

SHARDS = 16
USER_RECORDS_OF_AGGREGATE = 100
DATA_BYTES = 100
AGGREGATES_OF_PAGE = 100


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, data):
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def aggregate():
    record = b"\x08\x00" + field(3, b"x" * DATA_BYTES)
    message = field(1, b"key") + field(3, record) * USER_RECORDS_OF_AGGREGATE
    return b"\xf3\x89\x9a\xc2" + message + hashlib.md5(message).digest()


def pages(user_records):
    """The answers to GetRecords of each shard."""
    data = base64.b64encode(aggregate()).decode()
    aggregates = user_records // SHARDS // USER_RECORDS_OF_AGGREGATE
    for shard in range(SHARDS):
        shard_pages = []
        for first in range(0, aggregates, AGGREGATES_OF_PAGE):
            last = min(first + AGGREGATES_OF_PAGE, aggregates)
            records = [
                {
                    "SequenceNumber": str(10**55 + number),
                    "ApproximateArrivalTimestamp": 1767225600.125,
                    "Data": data,
                    "PartitionKey": "a",
                }
                for number in range(first, last)
            ]
            next_iterator = None if last == aggregates else f"{shard} {len(shard_pages) + 1}"
            answer = {"Records": records, "NextShardIterator": next_iterator, "MillisBehindLatest": 0}
            shard_pages.append(json.dumps(answer).encode())
        yield shard_pages


class Servers:
    def __init__(self, user_records):
        self.pages = list(pages(user_records))
        self.events = 0
        self.bytes = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=[client], daemon=True).start()

    def serve(self, client):
        rest = b""
        while True:
            while b"\r\n\r\n" not in rest:
                more = client.recv(1 << 16)
                if not more:
                    return
                rest += more
            head, rest = rest.split(b"\r\n\r\n", 1)
            length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
            target = re.search(rb"(?i)x-amz-target: *\S*\.(\w+)", head)
            body = bytearray(rest[:length])
            rest = rest[length:]
            while len(body) < length:
                body += client.recv(min(1 << 20, length - len(body)))
            answer = self.answer(target and target[1].decode(), body)
            client.sendall(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: %d\r\n\r\n" % len(answer)
            )
            client.sendall(answer)

    def answer(self, operation, body):
        if operation is None:
            self.events += 1
            self.bytes += len(body)
            return b'{"batchItemFailures":[]}'
        if operation == "GetRecords":
            shard, page = json.loads(body)["ShardIterator"].split()
            return self.pages[int(shard)][int(page)]
        if operation == "GetShardIterator":
            shard = int(json.loads(body)["ShardId"].split("-")[1])
            return json.dumps({"ShardIterator": f"{shard} 0"}).encode()
        if operation == "ListShards":
            shards = [
                {
                    "ShardId": f"shardId-{shard:012}",
                    "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "0"},
                    "SequenceNumberRange": {"StartingSequenceNumber": "1"},
                }
                for shard in range(SHARDS)
            ]
            return json.dumps({"Shards": shards}).encode()
        summary = {
            "StreamName": "bench",
            "StreamARN": "arn:aws:kinesis:us-east-1:123456789012:stream/bench",
            "StreamStatus": "ACTIVE",
            "RetentionPeriodHours": 24,
            "StreamCreationTimestamp": 0,
            "EnhancedMonitoring": [],
            "OpenShardCount": SHARDS,
        }
        return json.dumps({"StreamDescriptionSummary": summary}).encode()


def main():
    kit = sys.argv[1]
    user_records = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    servers = Servers(user_records)
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": servers.url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
    }
    command = [kit, "replay", "--stream", "bench", "--from", "trim-horizon", "--reads-per-second", "1000"]
    command += ["--url", servers.url, "--restart"]
    usage = run(command, environment)
    print(f"{user_records} user records of {DATA_BYTES} bytes, {USER_RECORDS_OF_AGGREGATE} in an aggregate, {SHARDS} shards")
    print(f"{servers.events} events, {servers.bytes / 1e6:.0f} MB of JSON")
    print(f"{usage.wall_seconds:.2f} s, {usage.cpu_seconds:.2f} s of CPU, {usage.peak_bytes / 2**20:.0f} MiB at the most")
    print(f"{user_records / usage.wall_seconds:,.0f} user records in a second, {user_records / usage.cpu_seconds:,.0f} in a second of CPU")


try:
    main()
except ProgramFailed as error:
    sys.exit(str(error))
