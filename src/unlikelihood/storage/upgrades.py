"""What a model folder of an earlier format means in today's parameters."""

from typing import Any

# The parameters that a class got after a format was the last one, with the values that say what it did until then.
SINCE: dict[int, dict[str, dict[str, Any]]] = {
    1: {name: {"antithetic": False} for name in ("Reconstruction", "ELBO", "IWAE", "LatentDensity", "Flow")},
}


def upgraded(record: Any, version: int) -> Any:
    """Return the `record` of a detector in the format `version` as one of the latest format."""
    if isinstance(record, list):
        return [upgraded(item, version) for item in record]
    if not isinstance(record, dict):
        return record
    record = {key: upgraded(item, version) for key, item in record.items()}
    name = record.get("$detector", record.get("$part"))
    for earlier, parameters in SINCE.items():
        if earlier >= version and name in parameters:
            record["parameters"] = parameters[name] | record["parameters"]
    return record
