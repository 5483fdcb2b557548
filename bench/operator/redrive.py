"""How fast `kinesis-kit redrive` is by itself: single-record failure records of 16 shards, and servers that have nothing to do.

Stand-ins for SQS or S3, Kinesis and the function answer each request after a fixed time, as services on a network do.
Failure records are every second record of their shards. In S3 they have their payload.
Usage: bench/operator/redrive.py KINESIS_KIT [queue|bucket] [FAILURE_RECORDS] [MILLISECONDS_FOR_A_SERVICE] [MILLISECONDS_FOR_THE_FUNCTION]
"""

import asyncio
import itertools
import json
import os
import re
import sys
import tempfile
import urllib.parse

from measured import ProgramFailed, report, run

SHARDS = 16
ARN = "arn:aws:kinesis:us-east-1:123456789012:stream/bench"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:bench"
DATA = "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg="
PAGE = 1_000


def number(index):
    return str(10**55 + index)


def event_record(shard, index):
    return {
        "kinesis": {"partitionKey": "key", "sequenceNumber": number(index), "data": DATA, "approximateArrivalTimestamp": 1767225600.125},
        "eventSource": "aws:kinesis",
        "eventID": f"shardId-{shard:012}:{number(index)}",
        "eventSourceARN": ARN,
    }


def failure_record(shard, index, with_payload):
    record = {
        "requestContext": {"functionArn": FUNCTION},
        "KinesisBatchInfo": {
            "shardId": f"shardId-{shard:012}",
            "startSequenceNumber": number(index),
            "endSequenceNumber": number(index),
            "batchSize": 1,
            "streamArn": ARN,
        },
    }
    if with_payload:
        record["payload"] = json.dumps({"Records": [event_record(shard, index)]})
    return json.dumps(record)


class Servers:
    def __init__(self, source, failure_records, service_seconds, function_seconds):
        self.service_seconds = service_seconds
        self.function_seconds = function_seconds
        # Of a queue, in no order.
        places = [(at % SHARDS, at // SHARDS * 2) for at in range(failure_records)]
        if source == "queue":
            places.sort(key=lambda place: hash((place, "no order")))
            self.places = iter(enumerate(places))
        else:
            keys = {f"aws/lambda/m/shardId-{shard:012}/{index:012}": (shard, index) for shard, index in places}
            self.objects = dict(sorted(keys.items()))
            self.keys = list(self.objects)
        self.records_of_shard = -(-failure_records // SHARDS) * 2
        self.deleted = self.delivered = self.events = self.reads = 0
        self.order = {}
        self.is_ordered = True

    async def serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?i)content-length: *(\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                method, target = head.split(" ", 2)[:2]
                operation = re.search(r"(?i)x-amz-target: *\S*\.(\w+)", head)
                is_invocation = method == "POST" and not operation
                await asyncio.sleep(self.function_seconds if is_invocation else self.service_seconds)
                if operation:
                    answer = json.dumps(self.answer(operation[1], json.loads(body))).encode()
                elif is_invocation:
                    answer = self.invoke(json.loads(body))
                else:
                    answer = self.bucket(method, target)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: %d\r\n\r\n" % len(answer))
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def invoke(self, event):
        self.events += 1
        for record in event["Records"]:
            shard, at = record["eventID"].split(":")
            self.is_ordered &= self.order.get(shard, "") < at
            self.order[shard] = at
            self.delivered += 1
        return b'{"batchItemFailures":[]}'

    def answer(self, operation, request):
        if operation == "GetQueueUrl":
            return {"QueueUrl": "http://127.0.0.1/123456789012/failures"}
        if operation == "GetQueueAttributes":
            return {"Attributes": {"ApproximateNumberOfMessagesNotVisible": "0"}}
        if operation == "ReceiveMessage":
            taken = list(itertools.islice(self.places, 10))
            return {
                "Messages": [
                    {"MessageId": str(at), "ReceiptHandle": str(at), "Body": failure_record(shard, index, False)}
                    for at, (shard, index) in taken
                ]
            }
        if operation == "DeleteMessage":
            self.deleted += 1
            return {}
        if operation == "DeleteMessageBatch":
            self.deleted += len(request["Entries"])
            return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]], "Failed": []}
        if operation == "ChangeMessageVisibilityBatch":
            return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]], "Failed": []}
        if operation == "GetShardIterator":
            return {"ShardIterator": str(int(request["StartingSequenceNumber"]) - 10**55)}
        if operation == "GetRecords":
            self.reads += 1
            first = int(request["ShardIterator"])
            last = min(first + PAGE, self.records_of_shard)
            record = {"ApproximateArrivalTimestamp": 1767225600.125, "Data": DATA, "PartitionKey": "key"}
            records = [{"SequenceNumber": number(index), **record} for index in range(first, last)]
            return {"Records": records, "NextShardIterator": str(last), "MillisBehindLatest": self.records_of_shard - last}
        raise ValueError(operation)

    def bucket(self, method, target):
        path, _, query = target.partition("?")
        key = urllib.parse.unquote(path).removeprefix("/failures").lstrip("/")
        if method == "DELETE":
            self.deleted += 1
            return b""
        if key:
            return failure_record(*self.objects[key], True).encode()
        after = urllib.parse.parse_qs(query).get("continuation-token", [""])[0]
        first = self.keys.index(after) + 1 if after else 0
        keys = self.keys[first : first + 1000]
        contents = "".join(f"<Contents><Key>{key}</Key><Size>1000</Size></Contents>" for key in keys)
        truncated = str(first + 1000 < len(self.keys)).lower()
        token = f"<NextContinuationToken>{keys[-1]}</NextContinuationToken>" if keys else ""
        return f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{token}{contents}</ListBucketResult>".encode()


async def main():
    kit = sys.argv[1]
    source = sys.argv[2] if len(sys.argv) > 2 else "queue"
    failure_records = int(sys.argv[3]) if len(sys.argv) > 3 else 100_000
    service_ms, function_ms = (float(text) for text in (sys.argv[4:6] + ["10", "50"][len(sys.argv[4:6]) :]))
    servers = Servers(source, failure_records, service_ms / 1000, function_ms / 1000)
    server = await asyncio.start_server(servers.serve, "127.0.0.1", 0, backlog=256)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "XDG_STATE_HOME": folder,
        }
        where = ["--queue", "failures"] if source == "queue" else ["--s3", "s3://failures/aws/"]
        command = [kit, "redrive", *where, "--url", url]
        progress_bytes = 0
        ended = asyncio.ensure_future(asyncio.to_thread(run, command, environment))
        while not ended.done():
            await asyncio.wait([ended], timeout=0.2)
            files = (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
            progress_bytes = max([progress_bytes, *(os.path.getsize(file) for file in files if os.path.exists(file))])
        usage = ended.result()
    assert (servers.deleted, servers.delivered) == (failure_records, failure_records), (servers.deleted, servers.delivered)
    # A queue has no order; 10,000 of its messages are sorted at once.
    assert source == "queue" or servers.is_ordered, "records of a shard were delivered out of order"
    report(
        f"redrive: {failure_records:,} failure records of {SHARDS} shards in a {source}; {service_ms:g} ms a request, "
        f"{function_ms:g} ms an event; {servers.events} events, {servers.reads} reads of the stream, "
        f"{progress_bytes / 1e6:.1f} MB of progress at the most",
        failure_records,
        "failure records",
        usage,
    )


try:
    asyncio.run(main())
except ProgramFailed as error:
    sys.exit(str(error))
