"""A node for destinations that are tried by themselves."""

from pathlib import Path

from fgd.config import Config
from fgd.destination import Delivery

REQUEST = "1167bf8c-87b0-43ab-8f5f-26b16c64f252"
#: 2026-11-26T22:40:00Z
CREATED_S = 1_795_732_800.0


class PlainNode:
    """Settings and a clock that the test moves."""

    def __init__(self, *, webhook_urls: str = "", destination_dir: Path | str = "") -> None:
        self.config = Config(webhook_urls=webhook_urls, destination_dir=str(destination_dir))
        self.moved_s = 0.0

    def now_s(self) -> float:
        return CREATED_S + self.moved_s

    async def enqueue(self, delivery: Delivery, function_urn: str) -> None:
        raise NotImplementedError

    async def publish(self, delivery: Delivery, topic_urn: str) -> None:
        raise NotImplementedError


def delivery(number: int = 1, *, project_id: str = "p1", success: bool = True, document: bytes = b"{}") -> Delivery:
    return Delivery(
        id=number, project_id=project_id, function_urn="urn:fss:local:p1:function:default:f1:latest",
        request_id=f"{REQUEST[:-2]}{number:02}", success=success, document=document, tries=0, created_s=CREATED_S,
    )  # fmt: skip
