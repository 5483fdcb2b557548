"""A stream of aggregates, in answers of the Kinesis API that are made beforehand."""

import base64
import hashlib
import json

USER_RECORDS_OF_AGGREGATE = 100
DATA_BYTES = 100


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


class Stream:
    """A stream that has ended, or, if it is live, has no newer record than its last."""

    def __init__(self, shards, user_records, aggregates_of_page, is_live=False):
        self.shards = shards
        self.aggregates_of_shard = -(-user_records // shards // USER_RECORDS_OF_AGGREGATE)
        self.user_records = self.aggregates_of_shard * shards * USER_RECORDS_OF_AGGREGATE
        self.is_live = is_live
        self.reads = 0
        # Those of one shard serve for all: the iterator is the only part that differs, and it has a fixed length.
        data = base64.b64encode(aggregate()).decode()
        self.pages = []
        for first in range(0, self.aggregates_of_shard, aggregates_of_page):
            last = min(first + aggregates_of_page, self.aggregates_of_shard)
            records = [
                {
                    "SequenceNumber": str(10**55 + number),
                    "ApproximateArrivalTimestamp": 1767225600.125,
                    "Data": data,
                    "PartitionKey": "a",
                }
                for number in range(first, last)
            ]
            self.pages.append(json.dumps(records).encode())

    def answer(self, operation, body):
        """Answers an operation that reads."""
        if operation == "GetRecords":
            self.reads += 1
            shard, page = (int(text) for text in json.loads(body)["ShardIterator"].split())
            if page == len(self.pages):
                return self.page(b"[]", shard, page, 0)
            behind = 0 if page + 1 == len(self.pages) else 1000
            return self.page(self.pages[page], shard, page + 1, behind)
        if operation == "GetShardIterator":
            shard = int(json.loads(body)["ShardId"].split("-")[1])
            return json.dumps({"ShardIterator": f"{shard} 0"}).encode()
        if operation == "ListShards":
            size = 2**128 // self.shards
            shards = [
                {
                    "ShardId": f"shardId-{shard:012}",
                    "HashKeyRange": {"StartingHashKey": str(shard * size), "EndingHashKey": str((shard + 1) * size - 1)},
                    "SequenceNumberRange": {"StartingSequenceNumber": "1"},
                }
                for shard in range(self.shards)
            ]
            return json.dumps({"Shards": shards}).encode()
        if operation == "DescribeStreamSummary":
            summary = {
                "StreamName": "bench",
                "StreamARN": "arn:aws:kinesis:us-east-1:123456789012:stream/bench",
                "StreamStatus": "ACTIVE",
                "RetentionPeriodHours": 24,
                "StreamCreationTimestamp": 0,
                "EnhancedMonitoring": [],
                "OpenShardCount": self.shards,
            }
            return json.dumps({"StreamDescriptionSummary": summary}).encode()
        raise ValueError(operation)

    def page(self, records, shard, next_page, behind_ms):
        has_ended = next_page == len(self.pages) and not self.is_live
        iterator = b"null" if has_ended else b'"%d %d"' % (shard, next_page)
        return b'{"Records":%s,"NextShardIterator":%s,"MillisBehindLatest":%d}' % (records, iterator, behind_ms)
