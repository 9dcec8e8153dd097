"""Which right a request to the object store needs."""

import pytest

from fgd.api.object_rights import needed
from fgd.auth.actions import ACTIONS

ASKED = [
    ("GET", "", "", {}, "bucket:ListAllMyBuckets", "*/*"),
    ("PUT", "b", "", {}, "bucket:CreateBucket", "b"),
    ("DELETE", "b", "", {}, "bucket:DeleteBucket", "b"),
    ("HEAD", "b", "", {}, "bucket:HeadBucket", "b"),
    ("GET", "b", "", {"prefix": "x"}, "bucket:ListBucket", "b"),
    ("GET", "b", "", {"location": ""}, "bucket:GetBucketLocation", "b"),
    ("GET", "b", "", {"versioning": ""}, "bucket:GetBucketVersioning", "b"),
    ("GET", "b", "", {"uploads": ""}, "bucket:ListBucketMultipartUploads", "b"),
    ("GET", "b", "k/l", {}, "object:GetObject", "b/k/l"),
    ("HEAD", "b", "k", {}, "object:GetObject", "b/k"),
    ("PUT", "b", "k", {}, "object:PutObject", "b/k"),
    ("PUT", "b", "k", {"uploadId": "u", "partNumber": "1"}, "object:PutObject", "b/k"),
    ("POST", "b", "k", {"uploads": ""}, "object:PutObject", "b/k"),
    ("POST", "b", "k", {"uploadId": "u"}, "object:PutObject", "b/k"),
    ("DELETE", "b", "k", {}, "object:DeleteObject", "b/k"),
    ("GET", "b", "k", {"uploadId": "u"}, "object:ListMultipartUploadParts", "b/k"),
    ("DELETE", "b", "k", {"uploadId": "u"}, "object:AbortMultipartUpload", "b/k"),
]


@pytest.mark.parametrize(("method", "bucket", "key", "query", "action", "path"), ASKED)
def test_each_request_needs_one(
    method: str, bucket: str, key: str, query: dict[str, str], action: str, path: str
) -> None:
    assert (f"obs:{action}", action.partition(":")[0], path) == needed(method, bucket, key, query)


def test_every_action_is_needed_by_something_and_known() -> None:
    assert {one for one in ACTIONS if one.startswith("obs:")} == {f"obs:{one[4]}" for one in ASKED}


def test_what_a_body_names_is_asked_later_and_no_method_needs_nothing() -> None:
    assert needed("POST", "b", "", {"delete": ""}) is None
    assert needed("PATCH", "b", "k", {}) is not None
    assert needed("PATCH", "b", "", {}) is not None
