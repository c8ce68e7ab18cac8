#!/bin/sh
# Measure mtad, and Postfix in the same alternating rounds where it is installed: bench/run.sh [--short]
exec "${PYTHON:-.venv/bin/python}" "$(dirname "$0")/run.py" "$@"
