"""What a request to the object store needs the right to, in the words of policies. Who has all rights is not asked."""

from collections.abc import Mapping
from typing import Final

from fgd.auth.policy import EVERY

#: Subresource of a bucket -> action of its GET; "" for the list of objects.
_GET_BUCKET: Final = {
    "location": "GetBucketLocation",
    "versioning": "GetBucketVersioning",
    "uploads": "ListBucketMultipartUploads",
    "": "ListBucket",
}
_BUCKET: Final = {"PUT": "CreateBucket", "DELETE": "DeleteBucket", "HEAD": "HeadBucket"}
_OBJECT: Final = {
    "GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "POST": "PutObject", "DELETE": "DeleteObject",
}  # fmt: skip
_OF_UPLOAD: Final = {"GET": "ListMultipartUploadParts", "DELETE": "AbortMultipartUpload"}


def needed(method: str, bucket: str, key: str, query: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Action, kind and path of a resource; None where it is known only later: objects that a body names."""
    if not bucket:
        return "obs:bucket:ListAllMyBuckets", "bucket", EVERY
    if not key:
        if method == "POST":
            return None
        which = next((one for one in _GET_BUCKET if one and one in query), "")
        action = _GET_BUCKET[which] if method == "GET" else _BUCKET.get(method, "CreateBucket")
        return f"obs:bucket:{action}", "bucket", bucket
    action = _OF_UPLOAD.get(method, "") if "uploadId" in query else ""
    return f"obs:object:{action or _OBJECT.get(method, 'PutObject')}", "object", f"{bucket}/{key}"
