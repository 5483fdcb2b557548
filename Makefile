EVENT = events/aggregated.json
# A program of your own, instead of the sample function.
FUNCTION =
SECONDS = 60
PORT = 4566
# Names of the tables that `make services` creates.
JOURNAL_TABLE ?= journal
CHECKPOINT_TABLE ?=

.PHONY: help invoke demo services test test-java-kcl advisories e2e sbom docs bench bench-cli instructions fuzz clean-tools

help:
	@echo 'make invoke [EVENT=events/….json]  build the sample function and invoke it here, without an AWS account'
	@echo 'make invoke FUNCTION=PROGRAM       invoke a function of your own'
	@echo 'make demo                          simulate retries, a resume and the quarantine, through the real function'
	@echo 'make services [PORT=4566]          stand in for Kinesis, DynamoDB, SQS and S3, until Ctrl-C'
	@echo '  [JOURNAL_TABLE=NAME] [CHECKPOINT_TABLE=NAME]  … with these tables'
	@echo 'make test                          every check: lints, tests, template, packages'
	@echo 'make test-java-kcl                 let AWS'\''s own KCL for Java and a function take turns (needs a JDK and Maven)'
	@echo 'make e2e                           deploy the template to a stand-in for AWS, and use it (part of make test)'
	@echo 'make advisories                    check the dependencies against the RustSec advisories (needs the network)'
	@echo 'make sbom                          write CycloneDX bills of materials of the binaries into target/sbom'
	@echo 'make docs                          build the documentation as a book into target/book'
	@echo 'make bench [FLAGS=--quick]         measure a function next to what people use without the kit: see bench/README.md'
	@echo 'make instructions                  count the instructions of the hot paths (part of make test, needs valgrind)'
	@echo 'make bench-cli                     measure put, tail, replay and redrive of kinesis-kit, without AWS'
	@echo 'make fuzz [SECONDS=60]             fuzz the deaggregation and the checksums'
	@echo 'make clean-tools                   remove the tools that these commands installed into .tools'

# Through the environment, so that the paths may hold any character; of these commands only, since others run further Makefiles.
invoke: export EVENT := $(EVENT)
invoke: export FUNCTION := $(FUNCTION)
invoke:
	@exec scripts/invoke "$$EVENT"

demo:
	@exec scripts/demo

services: export JOURNAL_TABLE := $(JOURNAL_TABLE)
services: export CHECKPOINT_TABLE := $(CHECKPOINT_TABLE)
services:
	@exec scripts/services $(PORT)

test:
	@exec scripts/test

test-java-kcl:
	@exec scripts/test-java-kcl

advisories:
	@scripts/tools test
	@exec scripts/advisories

e2e:
	@exec scripts/e2e

sbom:
	@exec scripts/sbom

docs:
	@scripts/tools docs
	@.tools/cargo/bin/mdbook build

bench:
	@exec bench/run $(FLAGS)

bench-cli:
	@exec bench/run --operator

instructions:
	@exec bench/instructions/run

fuzz:
	@exec scripts/fuzz $(SECONDS)

clean-tools:
	rm -rf .tools
