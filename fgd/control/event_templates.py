"""What each event source sends, as events to try a function with (user guide, table 4-2; events.md for the fields).

The values are invented, the names and their order are the cloud's. A template's name is the type of the trigger in
small letters, or what the guide calls it where no trigger sends such an event.
"""

import base64
import json
from dataclasses import dataclass
from typing import Final

from fgd.errors import EventTemplateNotFound

_PROJECT = "0123456789abcdef0123456789abcdef"
_REQUEST = "7f3b2f0d5c1a4e6b8a9c0d1e2f3a4b5c"
_MONGO_DOCUMENT = '{"_id": {"$oid": "5f61de944778db5fcded3f87"},"name": "lamp","price": {"$numberDouble": "52.0"}}'
_MONGO_PLACE = '{"db": "shop","coll": "orders"}'
_MONGO_TOKEN = '{"_data": "825F61DE94000000012B022C0100296E5A1004"}'
_KAFKA_INSTANCE = "81335d56-b9fe-4679-ba95-7030949cc76b"


@dataclass(frozen=True, slots=True)
class EventTemplate:
    """An event of one source. `event` is a JSON object."""

    name: str
    #: As the console lists it.
    title: str
    description: str
    event: dict[str, object]


def _base64(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return base64.b64encode(text.encode()).decode()


def _apig(host: str) -> dict[str, object]:
    return {
        "body": _base64({"hello": "world"}),
        "requestContext": {"apiId": "0b6d1f52-7c1e-4d0e-9f4e-2f1d7f0a9c11", "requestId": _REQUEST, "stage": "RELEASE"},
        "queryStringParameters": {"responseType": "html"},
        "httpMethod": "POST",
        "pathParameters": {},
        "headers": {
            "host": host,
            "x-request-id": _REQUEST,
            "x-real-ip": "192.0.2.7",
            "x-forwarded-for": "192.0.2.7",
            "x-forwarded-host": host,
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
            "content-type": "application/json",
            "user-agent": "curl/8.5.0",
            "accept": "*/*",
        },
        "path": "/demo/sub",
        "isBase64Encoded": True,
    }


def _lts(*messages: str) -> dict[str, object]:
    entries = [
        {
            "message": message,
            "time": 1714523400000 + number,
            "host_name": "host-a",
            "ip": "192.0.2.9",
            "path": "var/log/app.log",
            "log_uid": "663d6930-792d-11e8-8b08-286ed488ce70",
            "line_no": number + 1,
        }
        for number, message in enumerate(messages)
    ]
    data = {
        # JSON in JSON, as the log service has it.
        "logs": json.dumps(entries, separators=(",", ":")),
        "owner": "6280e170bd934f60a4d851cf5ca05129",
        "log_group_id": "97a9d284-4448-11e8-8fa4-286ed488ce70",
        "log_topic_id": "1a9675a7-784d-11e9-8f70-286ed488ce70",
    }
    return {"lts": {"data": _base64(data)}}


def _obs(key: str, size: int) -> dict[str, object]:
    record = {
        "eventVersion": "2.0",
        "eventSource": "aws:s3",
        "awsRegion": "region-1",
        "eventTime": "2024-05-01T08:30:00.939Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "00a4f2c06d6b4a2d8b7c7f5f0c3f1d11"},
        "requestParameters": {"sourceIPAddress": "192.0.2.3"},
        "responseElements": {
            "x-amz-request-id": "4e780000018f2f3d3b2c1a0918f7e6d5",
            "x-amz-id-2": "s7A0bW9jay1yZXF1ZXN0LWlk",
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "8ba3f66e-aa19-459d-8f4d-337998c50dc9",
            "bucket": {
                "name": "bucket-test",
                "ownerIdentity": {"PrincipalId": "65b4c0d3e2f14a5b9c8d7e6f5a4b3c2d"},
                "arn": "arn:aws:s3:::bucket-test",
            },
            "object": {
                "key": key,
                "eTag": "5d41402abc4b2a76b9719d911017c592",
                "size": size,
                "versionId": "null",
                "sequencer": "0000000019386C6871FB059ED0000000",
            },
        },
    }
    return {"Records": [record]}


def _messages(trigger_type: str, record: dict[str, object]) -> dict[str, object]:
    return {
        "event_version": "v1.0",
        "event_time": 1714523400,
        "trigger_type": trigger_type,
        "region": "region-1",
        "instance_id": _KAFKA_INSTANCE,
        "records": [record],
    }


_KAFKA_RECORD: Final[dict[str, object]] = {
    "messages": ["kafka message1", "kafka message2"],
    "topic_id": "topic-test",
}

_CTS: Final[dict[str, object]] = {
    "cts": {
        "time": 1714523400000,
        "user": {
            "name": "user-a",
            "id": "5b726c4fbfd84821ba866bafaaf56aax",
            "domain": {"name": "domain-a", "id": "b2b3853af40448fcb9e40dxj89505ba"},
        },
        "request": {},
        "response": {},
        "code": 204,
        "service_type": "FunctionGraph",
        "resource_type": "Functions",
        "resource_name": "function-a",
        "resource_id": "function-a",
        "source_ip": "192.0.2.4",
        "trace_name": "createFunction",
        "trace_rating": "normal",
        "trace_type": "ConsoleAction",
        "api_version": "",
        "record_time": 1714523400000,
        "trace_id": "f828ab77-d993-11f0-b09f-35adcfa25f3b",
        "trace_status": "normal",
        "domain_id": "e51d0f3a5f3c4e0b8c3f9b1d2a4c6e80",
        "project_id": _PROJECT,
        "read_only": False,
        "resource_account_id": "",
        "operation_id": "CreateFunction",
        "request_id": "15fc2f1b7a9d4c3e8b6a5f4e3d2c1b0a",
        "message": f"POST /v2/{_PROJECT}/fgs/functions, create function[function-a]",
    }
}

_DDS: Final[dict[str, object]] = {
    "records": [
        {
            "event_source": "dds",
            "event_name": "insert",
            "region": "region-1",
            "event_version": "1.0",
            "dds": {
                "size_bytes": "100",
                "token": _MONGO_TOKEN,
                "full_document": _MONGO_DOCUMENT,
                "ns": _MONGO_PLACE,
            },
            "event_source_id": "e6065860-f7b8-4cca-80bd-24ef2a3bb748",
        }
    ]
}

_GAUSSMONGO: Final[dict[str, object]] = {
    "records": [
        {
            # With quotation marks of its own, as that source has it.
            "event_name": '"insert"',
            "event_version": "1.0",
            "event_source": "gauss_mongo",
            "region": "region-1",
            "gauss_mongo": {
                "full_document": _MONGO_DOCUMENT,
                "ns": _MONGO_PLACE,
                "size_bytes": "100",
                "token": _MONGO_TOKEN,
            },
            "event_source_id": "51153d19-2b7d-402c-9a79-757163258a36",
        }
    ],
    "vernier": _MONGO_TOKEN,
}

_DIS: Final[dict[str, object]] = {
    "ShardID": "shardId-0000000000",
    "Message": {
        "next_partition_cursor": "eyJnZXRJdGVyYXRvclBhcmFtIjp7fX0=",
        "records": [{"partition_key": "shardId_0000000000", "data": _base64("welcome"), "sequence_number": "0"}],
        "millis_behind_latest": "",
    },
    "Tag": "latest",
    "StreamName": "dis-test",
}

_SMN: Final[dict[str, object]] = {
    "record": [
        {
            "event_version": "1.0",
            "event_subscription_urn": f"urn:fss:region-1:{_PROJECT}:function:default:function-a:latest",
            "event_source": "smn",
            "smn": {
                "topic_urn": f"urn:smn:region-1:{_PROJECT}:topic-test",
                "timestamp": "2024-05-01T08:30:00Z",
                "message_attributes": None,
                "message": '{"message":"hello"}',
                "type": "notification",
                "message_id": "9fcb1bc702734884951c2ba2c7d9c23c",
                "subject": "SMN-Test",
            },
        }
    ],
    "functionname": "function-a",
    "requestId": "7c307f6a-cf68-4e65-8be0-4c77405a1b2c",
    "timestamp": "Wed May 01 2024 16:30:00 GMT+0800 (CST)",
}

_TIMER: Final[dict[str, object]] = {
    "version": "v1.0",
    "time": "2024-05-01T08:30:00+08:00",
    "trigger_type": "TIMER",
    "trigger_name": "Timer_042",
    "user_event": "free text typed by the user",
}

_EVENTGRID: Final[dict[str, object]] = {
    "specversion": "1.0",
    "id": "b27e045c69e3465d8f2b3b1a5d4c6e7f",
    "source": "HC.OBS.DWR",
    "type": "OBS:DWR:ObjectCreated:PUT",
    "subject": "file.tar",
    "time": "2024-05-01T08:30:00.167931174Z",
    "datacontenttype": "application/json",
    "dataschema": "",
    "ttl": "4000",
    "data": {
        "eventVersion": "3.0",
        "eventSource": "OBS",
        "eventRegion": "region-1",
        "eventTime": "2024-05-01T16:30:00.533Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"ID": "28a7d1c0b3e94f5a8d6c7b8a9f0e1d2c"},
        "requestParameters": {"sourceIPAddress": "192.0.2.3"},
        "responseElements": {
            "x-obs-id-2": "",
            "x-obs-request-id": "b27e045c69e3465d8f2b3b1a5d4c6e7f",
            "x-amz-request-id": "",
            "x-amz-id-2": "",
        },
        "obs": {
            "Version": "1.0",
            "configurationId": "5d1b7c3a-20e7-4a5f-8d0e-6a9a3c0b1f22",
            "bucket": {
                "bucket": "bucket-test",
                "name": "bucket-test",
                "arn": "",
                "ownerIdentity": {"ID": "28a7d1c0b3e94f5a8d6c7b8a9f0e1d2c"},
            },
            "object": {
                "key": "file.tar",
                "eTag": "6f94a0b8c7d6e5f4a3b2c1d0e9f8a7b6",
                "size": 112,
                "versionId": "G0011191B0F8E7D6",
                "oldpsxpth": "",
                "sequencer": "1",
            },
        },
    },
}

_IOTDA: Final[dict[str, object]] = {
    "resource": "device.message",
    "event": "report",
    "event_time": "20240501T083000Z",
    "notify_data": {
        "header": {
            "app_id": "8d4a34e5363a49bfa809c6bd788e6ffa",
            "device_id": "5f02b3a4_device-a",
            "node_id": "device-a",
            "product_id": "5f02b3a49db0f7094cb9b47c",
            "gateway_id": "5f02b3a4_device-a",
        },
        "body": {"topic": "topic-test", "content": {"temperature": 21}},
    },
}

TEMPLATES: Final = (
    EventTemplate("blank", "Blank Template", "An object to be changed as needed", {"key": "value"}),
    EventTemplate("apig", "API Gateway (APIG)", "A request through a shared API gateway", _apig("api.example.com")),
    EventTemplate(
        "dedicatedgateway",
        "API Gateway (Dedicated Gateway)",
        "A request through a dedicated API gateway",
        _apig("gateway.example.com"),
    ),
    EventTemplate("cts", "Cloud Trace Service (CTS)", "An operation that was traced", _CTS),
    EventTemplate("dds", "Document Database Service (DDS)", "A document that was inserted", _DDS),
    EventTemplate("gaussmongo", "GeminiDB Mongo", "A document that was inserted", _GAUSSMONGO),
    EventTemplate("dis", "Data Ingestion Service (DIS)", "A record of a stream", _DIS),
    EventTemplate("lts", "Log Tank Service (LTS)", "A line of a log", _lts("application started")),
    EventTemplate("obs", "Object Storage Service (OBS)", "An object that was stored", _obs("folder%2Fhello.txt", 5)),
    EventTemplate("smn", "Simple Message Notification (SMN)", "A message that was published", _SMN),
    EventTemplate("timer", "Timer", "A tick of a timer", _TIMER),
    EventTemplate("kafka", "DMS (for Kafka)", "Messages of a topic", _messages("KAFKA", _KAFKA_RECORD)),
    EventTemplate(
        "opensourcekafka", "Kafka (OPENSOURCEKAFKA)", "Messages of a topic", _messages("KAFKA", _KAFKA_RECORD)
    ),
    EventTemplate(
        "rabbitmq",
        "DMS (for RabbitMQ)",
        "Messages of an exchange",
        _messages("RABBITMQ", {"messages": ["rabbitmq message1", "rabbitmq message2"], "exchange": "exchange-test"}),
    ),
    EventTemplate(
        "rocketmq",
        "DMS (for RocketMQ)",
        "Messages of a topic",
        _messages("ROCKETMQ", {"messages": ["rocketmq message1"], "topic_id": "topic-test"}),
    ),
    EventTemplate("eventgrid", "EventGrid", "An object that was stored, as a CloudEvent", _EVENTGRID),
    EventTemplate("iotda", "IoT Device Access (IoTDA)", "A message that a device reported", _IOTDA),
    EventTemplate(
        "login-security",
        "Login Security Analysis",
        "Lines of a login log, for loginSecurity-realtime-analysis-python",
        _lts(
            "May  1 08:30:00 host-a sshd[1200]: Failed password for root from 192.0.2.66 port 50122 ssh2",
            "May  1 08:30:01 host-a sshd[1201]: Accepted password for user-a from 192.0.2.7 port 50123 ssh2",
        ),
    ),
    EventTemplate(
        "image-tag", "Image Classification", "A picture that was stored, for image-tag", _obs("picture.jpg", 20480)
    ),
    EventTemplate(
        "porn-image-analysis",
        "Pornographic Image Analysis",
        "A picture that was stored, for porn-image-analysis",
        _obs("picture.png", 20480),
    ),
    EventTemplate(
        "voice-analysis",
        "Speech Recognition",
        "A recording that was stored, for voice-analysis",
        _obs("voice.wav", 96000),
    ),
)


def event_template(name: str) -> EventTemplate:
    """The template of that name, in whatever case (`KAFKA` is the type of a trigger).

    Raises:
        EventTemplateNotFound: there is none.
    """
    wanted = name.lower()
    for template in TEMPLATES:
        if template.name == wanted:
            return template
    names = ", ".join(template.name for template in TEMPLATES)
    raise EventTemplateNotFound(f"template: there is no {name[:40]!r}; there are {names}")
