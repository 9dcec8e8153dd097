"""A node for destinations that are tried by themselves."""

from fgd.config import Config
from fgd.destination import Delivery

REQUEST = "1167bf8c-87b0-43ab-8f5f-26b16c64f252"
#: 2026-11-26T22:40:00Z
CREATED_S = 1_795_732_800.0


class PlainNode:
    """Settings and a clock that the test moves."""

    def __init__(self, *, webhook_urls: str = "") -> None:
        self.config = Config(webhook_urls=webhook_urls)
        #: (project, bucket, key) -> (bytes, content type, when it goes, 0 for never).
        self.objects: dict[tuple[str, str, str], tuple[bytes, str, float]] = {}
        self.moved_s = 0.0

    def now_s(self) -> float:
        return CREATED_S + self.moved_s

    async def enqueue(self, delivery: Delivery, function_urn: str) -> None:
        raise NotImplementedError

    async def publish(self, delivery: Delivery, topic_urn: str) -> None:
        raise NotImplementedError

    async def put_object(
        self, project_id: str, bucket: str, key: str, data: bytes, *, content_type: str, expires_s: float,
        store: str = "", chain: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.objects[project_id, bucket, key] = (data, content_type, expires_s)


def delivery(number: int = 1, *, project_id: str = "p1", success: bool = True, document: bytes = b"{}") -> Delivery:
    return Delivery(
        id=number, project_id=project_id, function_urn="urn:fss:local:p1:function:default:f1:latest",
        request_id=f"{REQUEST[:-2]}{number:02}", success=success, document=document, tries=0, created_s=CREATED_S,
    )  # fmt: skip
