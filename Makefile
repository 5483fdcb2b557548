EVENT ?= events/aggregated.json
SECONDS = 60
# Through the environment, so that the path may hold any character.
export EVENT

.PHONY: help invoke demo test fuzz clean-tools

help:
	@echo 'make invoke [EVENT=events/….json]  build the function and invoke it here, without an AWS account'
	@echo 'make demo                          simulate retries, a resume and the quarantine, through the real function'
	@echo 'make test                          every check: lints, tests, template, packages'
	@echo 'make fuzz [SECONDS=60]             fuzz the deaggregation'
	@echo 'make clean-tools                   remove the tools that these commands installed into .tools'

invoke:
	@exec scripts/invoke "$$EVENT"

demo:
	@exec scripts/demo

test:
	@exec scripts/test

fuzz:
	@exec scripts/fuzz $(SECONDS)

clean-tools:
	rm -rf .tools
