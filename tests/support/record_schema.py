"""The JSON Schema of result.json and metrics.json, as a judge of a record."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema

from aals_jax.evaluation import result

SCHEMA = Path(result.__file__ or "").with_name("record.schema.json")


@functools.cache
def judge() -> jsonschema.Draft202012Validator:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def faults_of(record: Mapping[str, Any]) -> list[str]:
    """What breaks the schema: where, and why."""
    return [
        f"{'/'.join(map(str, error.absolute_path)) or 'record'}: {error.message}"
        for error in judge().iter_errors(record)
    ]
