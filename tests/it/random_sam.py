"""Writes random SAM templates, and each one as the SAM translator turns it into CloudFormation.

    python random_sam.py FOLDER FIRST_SEED COUNT

makes FOLDER/SEED.sam.json and FOLDER/SEED.cfn.json for each of COUNT seeds. Seeds whose template the translator refuses
have no files; their errors are written to standard error. One process translates all of them, because loading the
translator takes longer than using it.
"""

import copy
import json
import logging
import os
import random
import sys

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

STAGES = ["prod", "dev", "test"]
UNCONDITIONAL = ["AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::DynamoDB::Table"]


class Generator:
    """One template. The same seed makes the same template."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.parameters = {
            "Stage": {"Type": "String", "Default": self.random.choice(STAGES)},
            "NoDefault": {"Type": "String"},
            "FromStore": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/orders/setting"},
        }
        self.conditions = {
            "IsProd": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]},
            "IsNotProd": {"Fn::Not": [{"Condition": "IsProd"}]},
            "IsUnknown": {"Fn::Equals": [{"Ref": "NoDefault"}, "x"]},
            "IsBoth": {"Fn::And": [{"Condition": "IsProd"}, {"Fn::Equals": ["a", "a"]}]},
            "IsEither": {"Fn::Or": [{"Condition": "IsUnknown"}, {"Condition": "IsProd"}]},
        }
        self.mappings = {}
        self.globals = {}
        self.resources = {}
        self.functions = []
        self.streams = []
        self.consumers = []

    def chance(self, probability):
        return self.random.random() < probability

    def choice(self, *options):
        return self.random.choice(options)

    def condition(self):
        return self.random.choice(list(self.conditions))

    def parameter(self, value):
        name = f"Parameter{len(self.parameters)}"
        kind = "Number" if isinstance(value, (int, float)) and not isinstance(value, bool) else "String"
        if isinstance(value, bool):
            value = str(value).lower()
        self.parameters[name] = {"Type": kind, "Default": value}
        return name

    def value(self, literal, other=None):
        """The literal, or an expression for it, or one that only CloudFormation can evaluate, or nothing."""
        draw = self.random.random()
        if draw < 0.55:
            return literal
        if draw < 0.67:
            return {"Ref": self.parameter(literal)}
        if draw < 0.79:
            sides = [self.value(literal), literal if other is None else other]
            self.random.shuffle(sides)
            return {"Fn::If": [self.condition(), *sides]}
        if draw < 0.85:
            name = f"Map{len(self.mappings)}"
            self.mappings[name] = {stage: {"Setting": literal} for stage in STAGES[: self.choice(2, 3)]}
            return {"Fn::FindInMap": [name, self.choice({"Ref": "Stage"}, "prod"), "Setting"]}
        if draw < 0.89:
            return {"Fn::If": [self.condition(), literal, {"Ref": "AWS::NoValue"}]}
        if draw < 0.92:
            return {"Ref": "AWS::NoValue"}
        if draw < 0.95 and isinstance(literal, str):
            return {"Fn::Sub": f"${{{self.parameter(literal)}}}"}
        return self.choice({"Fn::ImportValue": "shared"}, {"Ref": "NoDefault"}, {"Ref": "FromStore"})

    def add(self, id, kind, properties, **attributes):
        resource = {"Type": kind, "Properties": properties, **attributes}
        # A reference to a resource that does not exist would be refused.
        if kind not in UNCONDITIONAL and self.chance(0.1):
            resource["Condition"] = self.condition()
        self.resources[id] = resource
        return id

    def template(self):
        for id in ["Orders", "Clicks"][: self.choice(0, 1, 1, 2)]:
            self.stream(id)
        for id in ["Site", "Audit"][: self.choice(0, 0, 1, 2)]:
            stream = self.random.choice(self.streams) if self.streams and self.chance(0.9) else None
            arn = {"Fn::GetAtt": [stream, "Arn"]} if stream else self.stream_arn()
            properties = {"ConsumerName": id.lower(), "StreamARN": arn}
            self.consumers.append(self.add(id, "AWS::Kinesis::StreamConsumer", properties))
        encryption = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": {"Ref": "Key"}}}
        self.add("Key", "AWS::KMS::Key", {"KeyPolicy": {}})
        bucket = {"BucketEncryption": {"ServerSideEncryptionConfiguration": [encryption]}} if self.chance(0.2) else {}
        self.add("Failures", "AWS::S3::Bucket", bucket)
        self.add("Queue", "AWS::SQS::Queue", {"KmsMasterKeyId": {"Ref": "Key"}} if self.chance(0.2) else {})
        self.add("Topic", "AWS::SNS::Topic", {})
        self.add("Table", "AWS::DynamoDB::Table", {"StreamSpecification": {"StreamViewType": "NEW_IMAGE"}})
        if self.chance(0.4):
            self.role()
        if self.chance(0.5):
            self.globals = {"Function": self.settings()}
        for id in ["Reserve", "Score", "Notify", "Archive"][: self.choice(1, 1, 2, 3, 4)]:
            self.function(id)
        # A reference to a function that does not exist would be refused.
        self.functions = [id for id in self.functions if "Condition" not in self.resources[id]]
        for index in range(self.choice(0, 1, 1, 2, 3) if self.functions else 0):
            self.mapping(f"Mapping{index}")
        for index in range(self.choice(0, 1, 2, 4) if self.functions else 0):
            self.alarm(f"Alarm{index}")
        return {
            "Transform": "AWS::Serverless-2016-10-31",
            "Parameters": self.parameters,
            "Conditions": self.conditions,
            **({"Mappings": self.mappings} if self.mappings else {}),
            **({"Globals": self.globals} if self.globals else {}),
            "Resources": self.resources,
        }

    def stream(self, id):
        properties = {}
        if self.chance(0.6):
            properties["RetentionPeriodHours"] = self.value(self.choice(24, 48, 168), 24)
        if self.chance(0.3):
            properties["Name"] = self.value(id.lower())
        if self.chance(0.3):
            properties["StreamModeDetails"] = {"StreamMode": self.value(self.choice("ON_DEMAND", "PROVISIONED"))}
        self.streams.append(self.add(id, "AWS::Kinesis::Stream", properties))

    def stream_arn(self):
        if self.streams and self.chance(0.6):
            id = self.random.choice(self.streams)
            return self.choice(
                {"Fn::GetAtt": [id, "Arn"]},
                {"Fn::GetAtt": f"{id}.Arn"},
                {"Fn::Sub": f"${{{id}.Arn}}"},
                {"Fn::Sub": f"arn:${{AWS::Partition}}:kinesis:${{AWS::Region}}:${{AWS::AccountId}}:stream/${{{id}}}"},
                {"Fn::If": [self.condition(), {"Fn::GetAtt": [id, "Arn"]}, {"Fn::GetAtt": [self.streams[0], "Arn"]}]},
            )
        if self.consumers and self.chance(0.5):
            id = self.random.choice(self.consumers)
            return self.choice({"Fn::GetAtt": [id, "ConsumerARN"]}, {"Ref": id})
        arn = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
        return self.choice(
            arn,
            f"{arn}/consumer/site:1",
            {"Ref": self.parameter(arn)},
            {"Fn::If": [self.condition(), arn, f"{arn}-2"]},
            {"Ref": "NoDefault"},
            {"Fn::Join": ["", ["arn:aws:kinesis:", {"Ref": "AWS::Region"}, ":123456789012:stream/orders"]]},
            {"Fn::ImportValue": "orders-stream-kinesis"},
        )

    def destination(self, is_typed=False):
        """An on-failure destination as CloudFormation takes it. Beside a type, which the translator drops, it is one whose
        type the text tells, because the translation would otherwise know less than the template."""
        arns = [
            {"Fn::GetAtt": ["Failures", "Arn"]},
            {"Fn::GetAtt": ["Queue", "Arn"]},
            {"Fn::GetAtt": "Queue.Arn"},
            {"Ref": "Topic"},
            {"Fn::Sub": "${Failures.Arn}"},
            {"Fn::Sub": "arn:aws:sqs:${AWS::Region}:${AWS::AccountId}:orders-failures"},
            {"Fn::Join": [":", ["arn:aws:sns", {"Ref": "AWS::Region"}, "123456789012", "failures"]]},
            "arn:aws:s3:::failures",
            "arn:aws:sqs:us-east-1:123456789012:failures",
        ]
        if not is_typed:
            arns += [
                {"Fn::ImportValue": "failures"},
                self.value("arn:aws:s3:::failures", "arn:aws:sqs:us-east-1:123456789012:failures"),
            ]
        return self.random.choice(arns)

    def mapping_settings(self):
        """Settings that events of functions and mappings have in common."""
        settings = {}
        # Never absent: it tells that an unknown source is a stream.
        positions = ["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"]
        settings["StartingPosition"] = self.choice(
            "TRIM_HORIZON",
            self.random.choice(positions),
            {"Ref": self.parameter(self.random.choice(positions))},
            {"Fn::If": [self.condition(), *self.random.sample(positions, 2)]},
            {"Fn::ImportValue": "shared"},
        )
        if self.chance(0.15):
            settings["StartingPositionTimestamp"] = self.value(1767225600)
        if self.chance(0.75):
            types = ["ReportBatchItemFailures"]
            settings["FunctionResponseTypes"] = self.choice(types, types, [], [{"Fn::If": [self.condition(), types[0], {"Ref": "AWS::NoValue"}]}], {"Fn::If": [self.condition(), types, []]})
        if self.chance(0.8):
            settings["BisectBatchOnFunctionError"] = self.value(self.chance(0.8), False)
        if self.chance(0.8):
            settings["MaximumRetryAttempts"] = self.value(self.choice(-1, 0, 3, 5, 10, 10, 10), 2)
        if self.chance(0.8):
            settings["MaximumRecordAgeInSeconds"] = self.value(self.choice(-1, 3600, 82800, 86400, 604800), 60)
        if self.chance(0.4):
            settings["ParallelizationFactor"] = self.value(self.choice(1, 1, 2, 10))
        if self.chance(0.3):
            settings["BatchSize"] = self.value(self.choice(1, 100, 10000))
        if self.chance(0.3):
            settings["Enabled"] = self.value(self.chance(0.6))
        if self.chance(0.2):
            settings["TumblingWindowInSeconds"] = self.value(self.choice(0, 60, 900, 1000))
        if self.chance(0.3):
            data, key = '{"data":{"kind":["order"]}}', '{"partitionKey":["k"]}'
            patterns = self.random.sample([data, key, '{"$or":[{"data":{"a":[1]}},{"data":{"b":[2]}}]}'], self.choice(1, 2))
            filters = [{"Pattern": self.value(pattern)} for pattern in patterns]
            settings["FilterCriteria"] = {"Filters": filters}
        return settings

    def event(self):
        properties = {"Stream": self.stream_arn(), **self.mapping_settings()}
        if self.chance(0.7):
            kind = self.choice(None, None, "SQS", "SNS", "S3")
            on_failure = {"Type": kind} if kind else {}
            # For S3 alone the translator joins null and "*", which CloudFormation refuses.
            if kind in [None, "S3"] or self.chance(0.6):
                on_failure["Destination"] = self.destination(kind is not None)
            properties["DestinationConfig"] = {"OnFailure": on_failure}
        return {"Type": "Kinesis", "Properties": properties}

    def settings(self):
        """Properties that a function and the globals can have."""
        settings = {}
        if self.chance(0.5):
            settings["Timeout"] = self.value(self.choice(3, 60, 900))
        if self.chance(0.7):
            variables = {
                "KINESIS_HANDLER_MAX_ATTEMPTS": self.value(self.choice("2", "5", 9)),
                "KINESIS_HANDLER_MAX_AGE_SECONDS": self.value(self.choice("3600", "86400")),
                "KINESIS_HANDLER_CHECKPOINT_TABLE": self.choice("leases", {"Ref": "Table"}),
                "KINESIS_HANDLER_JOURNAL_TABLE": self.choice("journal", {"Ref": "Table"}),
                "KINESIS_HANDLER_QUARANTINE": self.value(self.choice("on", "off")),
                "KINESIS_HANDLER_DEADLINE_MARGIN_MS": self.value("1000"),
                "KINESIS_HANDLER_MAX_ATEMPTS": "5",
                "TABLE": {"Ref": "Table"},
            }
            names = self.random.sample(list(variables), self.choice(1, 2, 3))
            settings["Environment"] = {"Variables": {name: variables[name] for name in names}}
        return settings

    def role(self):
        statement = {
            "Effect": "Allow",
            "Action": self.choice("s3:PutObject", ["sqs:SendMessage", "s3:PutObject", "kms:GenerateDataKey"], "s3:*"),
            "Resource": self.choice("*", {"Fn::Sub": "${Failures.Arn}/*"}),
        }
        document = {"Version": "2012-10-17", "Statement": [statement]}
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        properties = {"AssumeRolePolicyDocument": {"Statement": [trust]}}
        if self.chance(0.7):
            properties["Policies"] = [{"PolicyName": "write", "PolicyDocument": document}]
        if self.chance(0.5):
            properties["ManagedPolicyArns"] = ["arn:aws:iam::aws:policy/service-role/AWSLambdaKinesisExecutionRole"]
        self.add("Role", "AWS::IAM::Role", properties)

    def function(self, id):
        properties = {"Runtime": "python3.12", "Handler": "a.b", "InlineCode": "b = 1", **self.settings()}
        if self.chance(0.3):
            name = id.lower()
            properties["FunctionName"] = self.choice(name, {"Fn::Sub": f"${{AWS::StackName}}-{name}"}, self.value(name))
        if self.chance(0.3):
            properties["AutoPublishAlias"] = self.choice("live", {"Ref": self.parameter("live")})
        if "Role" in self.resources and self.chance(0.6):
            properties["Role"] = {"Fn::GetAtt": ["Role", "Arn"]}
        elif self.chance(0.3):
            properties["Policies"] = self.choice(
                [{"S3WritePolicy": {"BucketName": {"Ref": "Failures"}}}],
                [{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}]}],
                "arn:aws:iam::aws:policy/AmazonSQSFullAccess",
            )
        if self.chance(0.7):
            events = {f"Event{index}": self.event() for index in range(self.choice(1, 1, 2, 3))}
            if self.chance(0.2):
                table = {"Stream": {"Fn::GetAtt": ["Table", "StreamArn"]}, "StartingPosition": "LATEST"}
                events["Changes"] = {"Type": "DynamoDB", "Properties": table}
            if self.chance(0.1):
                events["Timer"] = {"Type": "Schedule", "Properties": {"Schedule": "rate(1 minute)"}}
            properties["Events"] = events
        attributes = {}
        names = list(self.globals.get("Function", []))
        if names and self.chance(0.2):
            attributes["IgnoreGlobals"] = self.choice("*", [self.random.choice(names)])
        self.functions.append(self.add(id, "AWS::Serverless::Function", properties, **attributes))

    def function_name(self, id):
        names = [
            {"Ref": id},
            {"Ref": id},
            {"Fn::GetAtt": [id, "Arn"]},
            {"Fn::Sub": f"${{{id}}}"},
            {"Fn::Sub": f"${{{id}.Arn}}:live"},
            {"Fn::Join": [":", [{"Fn::GetAtt": [id, "Arn"]}, "live"]]},
            {"Fn::Sub": f"arn:aws:lambda:${{AWS::Region}}:${{AWS::AccountId}}:function:${{{id}}}"},
            id.lower(),
            f"arn:aws:lambda:us-east-1:123456789012:function:{id.lower()}",
            f"arn:aws:lambda:us-east-1:123456789012:function:{id.lower()}:live",
            {"Fn::ImportValue": "function"},
            {"Fn::If": [self.condition(), {"Ref": id}, {"Ref": self.functions[0]}]},
        ]
        if "AutoPublishAlias" in self.resources[id]["Properties"]:
            names += [{"Ref": f"{id}.Alias"}, {"Ref": f"{id}Aliaslive"}, {"Ref": f"{id}.Version"}]
        return self.random.choice(names)

    def mapping(self, id):
        properties = {"FunctionName": self.function_name(self.random.choice(self.functions)), **self.mapping_settings()}
        properties["EventSourceArn"] = {"Fn::GetAtt": ["Table", "StreamArn"]} if self.chance(0.1) else self.stream_arn()
        if self.chance(0.7):
            on_failure = self.choice({"Destination": self.destination()}, {"Destination": self.destination()}, {})
            properties["DestinationConfig"] = {"OnFailure": on_failure}
        elif self.chance(0.2):
            config = {"OnFailure": {"Destination": self.destination()}}
            properties["DestinationConfig"] = {"Fn::If": [self.condition(), config, {"Ref": "AWS::NoValue"}]}
        self.add(id, "AWS::Lambda::EventSourceMapping", properties)

    def alarm(self, id):
        function = self.random.choice(self.functions)
        namespace, name = self.choice(
            ("AWS/Lambda", "IteratorAge"),
            ("AWS/Lambda", "Errors"),
            ("AWS/Lambda", "ConcurrentExecutions"),
            ("AWS/Kinesis", "GetRecords.IteratorAgeMilliseconds"),
            ("AWS/DynamoDB", "UserErrors"),
            ("KinesisHandler", "Quarantined"),
            ("Orders", "Reserved"),
        )
        dimension = self.choice("FunctionName", "FunctionName", "StreamName", "function", "GoodFunctionName")
        dimensions = [{"Name": self.value(dimension), "Value": {"Ref": function}}]
        properties = {"Namespace": namespace, "MetricName": self.value(name)}
        if self.chance(0.8):
            properties["Dimensions"] = self.choice(dimensions, dimensions, [], {"Fn::If": [self.condition(), dimensions, []]})
        if self.chance(0.2):
            metric = {"Id": "m", "MetricStat": {"Metric": properties, "Period": 60, "Stat": "Sum"}}
            properties = {"Metrics": [metric]}
        self.add(id, "AWS::CloudWatch::Alarm", properties)


def main():
    folder, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    # It says that nobody has published its metrics.
    logging.disable(logging.WARNING)
    for seed in range(first, first + count):
        template = Generator(seed).template()
        try:
            # It changes what it is given.
            translated = Translator({}, Parser()).translate(copy.deepcopy(template), {})
        except InvalidDocumentException as error:
            print(f"seed {seed}: {error.message}", [cause.message for cause in error.causes], file=sys.stderr)
            continue
        for form, document in [("sam", template), ("cfn", translated)]:
            with open(os.path.join(folder, f"{seed}.{form}.json"), "w", encoding="utf-8") as file:
                json.dump(document, file, indent=1)


main()
