"""The tables of the demo and of `make services`. Usage: demo-table.py create [JOURNAL [CHECKPOINTS]] | show"""

import sys
import time
import urllib.request
from os import environ

import boto3

TABLE = "journal"


def wait_for_server():
    """Its port answers when it is ready."""
    for _ in range(300):
        try:
            return urllib.request.urlopen(environ["AWS_ENDPOINT_URL"] + "/moto-api/")
        except OSError:
            time.sleep(0.1)
    sys.exit("the stand-in for DynamoDB did not start")


def create(dynamodb, journal=TABLE, checkpoints=None):
    wait_for_server()
    create_table(dynamodb, journal, {}, ["pk", "sk"])
    dynamodb.update_time_to_live(
        TableName=journal,
        TimeToLiveSpecification={"AttributeName": "expiresAt", "Enabled": True},
    )
    if checkpoints:
        index = {
            "IndexName": "LeaseOwnerToLeaseKeyIndex",
            "KeySchema": key_schema(["leaseOwner", "leaseKey"]),
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
        create_table(dynamodb, checkpoints, {"GlobalSecondaryIndexes": [index]}, ["leaseKey"], ["leaseOwner"])


def key_schema(names):
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ["HASH", "RANGE"])]


def create_table(dynamodb, table, properties, keys, others=()):
    """As the template does, and `kinesis-kit journal create` and `checkpoint create`."""
    dynamodb.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in [*keys, *others]],
        KeySchema=key_schema(keys),
        SSESpecification={"Enabled": True, "SSEType": "KMS"},
        DeletionProtectionEnabled=True,
        **properties,
    )
    dynamodb.update_continuous_backups(
        TableName=table,
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
    )


def show(dynamodb):
    for item in sorted(dynamodb.scan(TableName=TABLE)["Items"], key=lambda item: item["sk"]["S"]):
        print(f'{item["pk"]["S"]}\n  {item["sk"]["S"]}')
        for name in ["reason", "attempts", "error", "partitionKey", "data"]:
            (value,) = item[name].values()
            print(f"  {name}: {value.decode() if isinstance(value, bytes) else value}")


{"create": create, "show": show}[sys.argv[1]](boto3.client("dynamodb"), *sys.argv[2:])
