"""A provider plugin ``aws`` for tests: inputs checked against the SDK's own types, and calls of boto3 that
moto answers in this process. The engine attaches to it (``PULUMI_DEBUG_PROVIDERS``)."""
