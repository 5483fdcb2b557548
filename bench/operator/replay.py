"""How fast `kinesis-kit replay` is by itself: 16 shards, a million user records, and servers that have nothing to do.

Both stand-ins answer with bytes that are made beforehand: the shards' pages for Kinesis, "nothing failed" for the function.
Usage: bench/operator/replay.py KINESIS_KIT [USER_RECORDS]
"""

import sys
import tempfile

from measured import ProgramFailed, report, run
from server import Server
from stream import DATA_BYTES, USER_RECORDS_OF_AGGREGATE, Stream

SHARDS = 16
AGGREGATES_OF_PAGE = 100


class Services:
    def __init__(self, user_records):
        self.stream = Stream(SHARDS, user_records, AGGREGATES_OF_PAGE)
        self.events = 0
        self.bytes = 0

    def answer(self, operation, body):
        if operation:
            return self.stream.answer(operation, body)
        self.events += 1
        self.bytes += len(body)
        return b'{"batchItemFailures":[]}'


def main():
    kit = sys.argv[1]
    services = Services(int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
    server = Server(services.answer)
    command = [kit, "replay", "--stream", "bench", "--from", "trim-horizon", "--reads-per-second", "1000"]
    command += ["--url", server.url, "--restart"]
    with tempfile.TemporaryDirectory() as folder:
        usage = run(command, {**server.environment(), "XDG_STATE_HOME": folder})
    user_records = services.stream.user_records
    report(
        f"replay: {user_records:,} user records of {DATA_BYTES} bytes, {USER_RECORDS_OF_AGGREGATE} in an aggregate, {SHARDS} shards; "
        f"{services.events} events, {services.bytes / 1e6:.0f} MB of JSON",
        user_records,
        "user records",
        usage,
    )


try:
    main()
except ProgramFailed as error:
    sys.exit(str(error))
