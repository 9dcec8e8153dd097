"""A signer of requests that is not the daemon's own code: SDK-HMAC-SHA256 as a client writes it."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from fgd.testing.client import Keys


def signed_headers(
    keys: Keys, method: str, path: str, body: bytes = b"", *, moment: datetime | None = None,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:  # fmt: skip
    """Headers that sign a request; `extra` headers are signed too. `path` may carry a query in its canonical form."""
    headers = {"X-Sdk-Date": (moment or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")}
    headers |= {"X-Project-Id": keys.project_id, "Content-Type": "application/json", **(extra or {})}
    names = sorted(headers, key=str.lower)
    plain, _, query = path.partition("?")
    segments = [quote(unquote(one), safe="-_.~") for one in plain.split("/")]
    canonical_path = "/".join(segments)
    canonical_path += "" if canonical_path.endswith("/") else "/"
    lines = [method.upper(), canonical_path, query]
    lines += [f"{name.lower()}:{headers[name].strip()}" for name in names]
    signed = ";".join(name.lower() for name in names)
    lines += ["", signed, hashlib.sha256(body).hexdigest()]
    canonical = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    text = f"SDK-HMAC-SHA256\n{headers['X-Sdk-Date']}\n{canonical}"
    signature = hmac.new(keys.secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()
    headers["Authorization"] = (
        f"SDK-HMAC-SHA256 Access={keys.access_key}, SignedHeaders={signed}, Signature={signature}"
    )
    return headers
