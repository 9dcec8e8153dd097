"""A daemon whose object store listens, with clients of it."""

import io
import json
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from minio import Minio

from fgd.testing.client import Client, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import free_port


class Rig:
    """The daemon; `open` once it runs."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.daemon = DaemonProcess(folder, {"obs_listen": self.address, "drain_s": 5.0, **settings})

    def open(self) -> None:
        self.keys: Keys = self.daemon.create_keys()
        self.api: Client = self.daemon.client(self.keys)
        self.s3 = Minio(self.address, self.keys.access_key, self.keys.secret_key, secure=False, region="local")

    def boto(self, keys: Keys | None = None, *, url: str = "", session: str = "", **config: Any) -> Any:
        """A client of boto3."""
        keys = keys or self.keys
        return boto3.client(
            "s3", endpoint_url=url or f"http://{self.address}", region_name="local",
            aws_access_key_id=keys.access_key, aws_secret_access_key=keys.secret_key,
            aws_session_token=session or None,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **config),
        )  # fmt: skip

    def put(self, bucket: str, key: str, data: bytes) -> Any:
        return self.s3.put_object(bucket, key, io.BytesIO(data), len(data))

    def get(self, bucket: str, key: str, offset: int = 0, length: int = 0) -> bytes:
        answer = self.s3.get_object(bucket, key, offset=offset, length=length)
        try:
            return bytes(answer.data)
        finally:
            answer.close()
            answer.release_conn()

    def follow(self, urn: str, **event_data: Any) -> Any:
        body = {"trigger_type_code": "OBS", "event_data": event_data}
        return self.api.request("POST", f"/v2/{self.api.project_id}/fgs/triggers/{urn}", body)

    def cli(self, *words: str) -> Any:
        """The JSON that a command prints."""
        return json.loads(self.daemon.cli(*words, "--json").stdout)

    def stored_files(self) -> list[Path]:
        return [path for path in (self.daemon.state_dir / "objects").rglob("*") if path.is_file()]
