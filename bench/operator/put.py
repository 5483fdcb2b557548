"""How fast `kinesis-kit put` is by itself: a million lines of 100 bytes of data, aggregated, and each as a plain record.

The stand-in for Kinesis counts the records of a request by their keys, and takes all of them.
Usage: bench/operator/put.py KINESIS_KIT [LINES]
"""

import json
import os
import sys
import tempfile

from measured import ProgramFailed, report, run
from server import Server
from stream import DATA_BYTES, Stream

SHARDS = 4
KEYS = 1_000
RESULT = b'{"SequenceNumber":"49600000000000000000000000000000000000000000000000000000","ShardId":"shardId-000000000000"}'


class Services:
    def __init__(self):
        self.stream = Stream(SHARDS, 0, 1)
        self.requests = 0
        self.kinesis_records = 0

    def answer(self, operation, body):
        if operation != "PutRecords":
            return self.stream.answer(operation, body)
        # No data has a quotation mark: it is base64.
        records = body.count(b'"PartitionKey"')
        self.requests += 1
        self.kinesis_records += records
        return b'{"FailedRecordCount":0,"Records":[%s]}' % b",".join([RESULT] * records)


def write_lines(path, lines):
    with open(path, "w") as file:
        for line in range(lines):
            text = f"order {line} ".ljust(DATA_BYTES, "x")
            file.write(f'{{"partitionKey":"customer-{line * 7919 % KEYS}","text":"{text}"}}\n')


def measure(kit, folder, lines, *options):
    services = Services()
    server = Server(services.answer)
    receipts = os.path.join(folder, "receipts")
    command = [kit, "put", os.path.join(folder, "lines"), "--stream", "bench", "--format", "json", *options]
    usage = run(command, server.environment(), output=receipts)
    with open(receipts) as file:
        taken = [json.loads(line)["userRecords"] for line in file]
    assert (len(taken), sum(taken)) == (services.kinesis_records, lines), (len(taken), sum(taken))
    report(
        f"put {' '.join(options)}: {lines:,} lines with {DATA_BYTES} bytes of text, {KEYS:,} keys, {SHARDS} shards; "
        f"{services.requests:,} requests, {services.kinesis_records:,} Kinesis records",
        lines,
        "lines",
        usage,
    )


def main():
    kit = sys.argv[1]
    lines = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        write_lines(os.path.join(folder, "lines"), lines)
        measure(kit, folder, lines, "--group-by", "shard")
        measure(kit, folder, lines, "--group-by", "partition-key")
        measure(kit, folder, lines, "--plain")


try:
    main()
except ProgramFailed as error:
    sys.exit(str(error))
