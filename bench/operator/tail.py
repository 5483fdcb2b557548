"""How fast `kinesis-kit tail` and `kinesis-kit inspect --stream` are: 32 shards, two million user records.

Both read each shard twice a second. With pages of 10 MB, as large as Kinesis gives them, that pace would allow 4 million
user records a second, so what is measured is the work: reading, deaggregating and writing lines to /dev/null.
Usage: bench/operator/tail.py KINESIS_KIT [USER_RECORDS]
"""

import sys

from measured import ProgramFailed, report, run
from server import Server
from stream import DATA_BYTES, USER_RECORDS_OF_AGGREGATE, Stream

SHARDS = 32
AGGREGATES_OF_PAGE = 650


def measure(name, stream, command, format):
    server = Server(stream.answer)
    usage = run([*command, "--format", format], server.environment())
    report(
        f"{name} --format {format}: {stream.user_records:,} user records of {DATA_BYTES} bytes, "
        f"{USER_RECORDS_OF_AGGREGATE} in an aggregate, {SHARDS} shards, {stream.reads} reads",
        stream.user_records,
        "user records",
        usage,
    )


def main():
    kit = sys.argv[1]
    user_records = int(sys.argv[2]) if len(sys.argv) > 2 else 2_000_000
    options = ["--stream", "bench", "--from", "trim-horizon"]
    for format in ["json", "table"]:
        stream = Stream(SHARDS, user_records, AGGREGATES_OF_PAGE, is_live=True)
        measure("tail", stream, [kit, "tail", *options, "--count", str(stream.user_records)], format)
        stream = Stream(SHARDS, user_records, AGGREGATES_OF_PAGE)
        measure("inspect --stream", stream, [kit, "inspect", *options], format)


try:
    main()
except ProgramFailed as error:
    sys.exit(str(error))
