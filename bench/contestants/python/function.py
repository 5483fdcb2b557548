"""Sums the lengths of user records: the deaggregation module of AWS Labs in Powertools' batch processing."""

import base64
import json

from aws_kinesis_agg.deaggregator import iter_deaggregate_records
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

processor = BatchProcessor(event_type=EventType.KinesisDataStreams)


class Totals:
    def __init__(self):
        self.user_records = self.user_bytes = 0

    def add(self, record):
        for user_record in iter_deaggregate_records(record.raw_event):
            self.user_records += 1
            self.user_bytes += len(base64.b64decode(user_record["kinesis"]["data"]))


def handler(event, context):
    totals = Totals()
    response = process_partial_response(event=event, record_handler=totals.add, processor=processor, context=context)
    print(json.dumps({"UserRecords": totals.user_records, "UserBytes": totals.user_bytes}))
    return response
