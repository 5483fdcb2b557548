"""The journal's table in the demo. Usage: demo-table.py create|show"""

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


def create(dynamodb):
    wait_for_server()
    keys = [("pk", "HASH"), ("sk", "RANGE")]
    dynamodb.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
    )


def show(dynamodb):
    for item in sorted(dynamodb.scan(TableName=TABLE)["Items"], key=lambda item: item["sk"]["S"]):
        print(f'{item["pk"]["S"]}\n  {item["sk"]["S"]}')
        for name in ["reason", "attempts", "error", "partitionKey", "data"]:
            (value,) = item[name].values()
            print(f"  {name}: {value.decode() if isinstance(value, bytes) else value}")


{"create": create, "show": show}[sys.argv[1]](boto3.client("dynamodb"))
