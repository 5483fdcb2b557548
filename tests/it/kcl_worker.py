"""A KCL worker that prints what becomes of the shards it gets: one JSON line for each user record, in the order of
processing, and one when it has read a shard to its end. It ends with its standard input.

Usage: kcl_worker.py STREAM TABLE, with AWS_ENDPOINT_URL and the like in the environment.
"""

import json
import sys
import threading

from kcl_rs import RecordProcessorBase, Scheduler

printing = threading.Lock()


def say(**line):
    # Shards are processed by threads of their own.
    with printing:
        print(json.dumps(line), flush=True)


class Printer(RecordProcessorBase):
    def initialize(self, initialize_input):
        self.shard = initialize_input.shard_id

    def process_records(self, process_records_input):
        for record in process_records_input.records:
            say(
                shard=self.shard,
                sequenceNumber=record.sequence_number,
                subSequenceNumber=record.sub_sequence_number,
                data=record.data.decode(),
            )
        process_records_input.checkpointer.checkpoint()

    def lease_lost(self, lease_lost_input):
        pass

    def shard_ended(self, shard_ended_input):
        say(ended=self.shard)
        # Without it the shard's children are never read.
        shard_ended_input.checkpointer.checkpoint()

    def shutdown_requested(self, shutdown_requested_input):
        pass


stream, table = sys.argv[1:]
# Its threads end with this value.
scheduler = Scheduler(
    stream_name=stream,
    # The name of its lease table, too.
    application_name=table,
    record_processor_factory=Printer,
    # For shards without a row, none of which a take-over leaves.
    initial_position="LATEST",
    retrieval_mode="POLLING",
    # The least it takes. Other times, such as that between looks at the table, cannot be set.
    idle_time_between_reads_millis=200,
    shard_sync_interval_millis=1000,
)
scheduler.start()
sys.stdin.read()
