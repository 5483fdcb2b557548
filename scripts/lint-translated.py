"""Translates a SAM template as CloudFormation does, offline, and lints the result: linting SAM alone misses wrong values of
the resources that it makes. With --security, checkov checks both as well; each exception has its reason in the template.
Usage: lint-translated.py [--security] [TEMPLATE]"""

import json
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

arguments = [argument for argument in sys.argv[1:] if argument != "--security"]
path = arguments[0] if arguments else "template.yaml"
with open(path, encoding="utf-8") as file:
    template = yaml_parse(file.read())
# What `sam package` would have put there.
for resource in template["Resources"].values():
    if resource["Type"] == "AWS::Serverless::Function":
        resource["Properties"]["CodeUri"] = "s3://bucket/key"
translated = Translator({}, Parser()).translate(template, {})
with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
    json.dump(translated, file)
    file.flush()
    # Without downloads: what it would download are links to guidelines.
    checkov = [".tools/checkov/bin/checkov", "--framework", "cloudformation", "--compact", "--quiet", "--skip-download"]
    lint = ["cfn-lint", "--regions", "us-east-1", "--template", file.name]
    status = subprocess.call(lint)
    if status == 0 and "--security" in sys.argv:
        status = subprocess.call([*checkov, "--file", path, file.name])
    sys.exit(status)
