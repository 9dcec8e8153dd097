"""What steps of tests/go_client must have seen, as tables."""

from typing import Final

#: What was sent, and what is added to it by fgd, for each type of triggers.
TRIGGERS: Final[dict[str, tuple[str, str, dict[str, object]]]] = {
    "timer": ("TIMER", "ACTIVE", {
        "name": "every_hour", "schedule_type": "Rate", "schedule": "1h", "user_event": "wake up",
    }),
    "timer_cron": ("TIMER", "DISABLED", {"name": "nightly", "schedule_type": "Cron", "schedule": "0 15 2 * * ?"}),
    "kafka": ("KAFKA", "DISABLED", {
        "instance_id": "dms-1", "topic_ids": ["orders", "bills"], "batch_size": 50, "kafka_user": "reader",
        "kafka_password": "******", "kafka_connect_address": "127.0.0.1:9092", "kafka_ssl_enable": True,
    }),
    "rabbitmq": ("RABBITMQ", "DISABLED", {
        "instance_id": "mq-1", "access_user": "reader", "access_password": "******",
        "connect_address": "127.0.0.1:5672", "exchange_name": "orders", "vhost": "shop",
        "ssl_enable": False, "batch_size": 10,
    }),
    "dds": ("DDS", "DISABLED", {
        "instance_id": "dds-1", "db_name": "shop", "collection_name": "orders", "db_password": "******",
        "batch_size": 20, "mode": "ReplicaSet",
    }),
    "obs": ("OBS", "ACTIVE", {"bucket": "orders", "events": ["s3:ObjectCreated:*"], "name": "o"}),
    "cts": ("CTS", "ACTIVE", {"name": "changes", "operations": ["FunctionGraph:Functions:createFunction"]}),
}  # fmt: skip

#: Steps that fgd must refuse: the library's type by its status, the code, and what the message must say.
REFUSED: Final = {
    "bad_memory": (400, "FSS.1007", "memory_size: must be one of"),
    "bad_runtime": (400, "FSS.1005", "runtime: must be one of"),
    "bad_variables": (400, "FSS.1009", "user_data: must be"),
    "bad_vpc": (400, "FSS.1036", "func_vpc.vpc_id: no network 'vpc-1'"),
    "timer_bad": (400, "FSS.1109", "event_data.schedule: must be 1m to 60m"),
    "timer_twice": (409, "FSS.1148", "event_data:"),
    "exists": (409, "FSS.1061", "func_name:"),
    "missing": (404, "FSS.1051", "function_urn:"),
    "missing_delete": (404, "FSS.1051", "function_urn:"),
    "missing_invoke": (404, "FSS.1051", "function_urn:"),
    "missing_trigger": (404, "FSS.1140", "trigger_id:"),
    "template": (404, "FSS.1059", "template_id:"),
    "delete_latest": (400, "FSS.0400", "function_urn: the version latest cannot be deleted"),
    "bad_token": (401, "FSS.0401", "X-Auth-Token:"),
    "other_project": (403, "FSS.0403", "function_urn: names another project"),
    "signed_wrong": (401, "FSS.0401", "Authorization: the signature does not match"),
    "delete_gone": (404, "FSS.1051", "function_urn:"),
    "delete_twice": (404, "FSS.1051", "function_urn:"),
    "delete_imported_gone": (404, "FSS.1051", "function_urn:"),
    "delete_imported_twice": (404, "FSS.1051", "function_urn:"),
    "image": (501, "FSS.0501", "custom_image: this version of fgd has no container images"),
    "gpu": (501, "FSS.0501", "gpu_memory: this version of fgd has no GPUs"),
    "code_in_store": (404, "FSS.1054", "code_url:"),
    "statistics": (501, "FSS.0501", "this version of fgd has no statistics; see GET /metrics"),
    "statistics_of": (501, "FSS.0501", "this version of fgd has no statistics; see GET /metrics"),
}
