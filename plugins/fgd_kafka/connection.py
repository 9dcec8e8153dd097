"""Where brokers are and how they let us in, whatever the settings call it; and what librdkafka is told of that."""

from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaError

#: How complaints begin that may be over in a moment.
CONNECTING: Final = "FSS.1115: "
#: Records that producers write at most; brokers have limits of their own.
_RECORD_MAX_BYTES: Final = 16 * 1024 * 1024


class Unreachable(Exception):
    """The brokers cannot be used now; the text says why."""


@dataclass(frozen=True, slots=True)
class Brokers:
    """A cluster. `addresses`: `HOST:PORT` each; `authority`: PEM text, "" for what the node trusts."""

    addresses: tuple[str, ...]
    user: str = ""
    password: str = field(default="", repr=False)
    mechanism: str = "PLAIN"
    tls: bool = False
    authority: str = ""
    check_hostname: bool = True

    def options(self) -> dict[str, Any]:
        """What every client of these brokers is configured with; names are those of librdkafka."""
        options: dict[str, Any] = {
            "bootstrap.servers": ",".join(self.addresses),
            "client.id": "fgd",
            # What matters comes by callbacks; its own log would repeat each failed connection.
            "log_level": 0,
            "reconnect.backoff.max.ms": 2000,
        }
        kind = "SSL" if self.tls else "PLAINTEXT"
        if self.user:
            kind = f"SASL_{kind}"
            options |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.user,
                "sasl.password": self.password,
            }
        options["security.protocol"] = kind
        if self.tls:
            options["ssl.endpoint.identification.algorithm"] = "https" if self.check_hostname else "none"
            if self.authority:
                options["ssl.ca.pem"] = self.authority
        return options

    def producer_options(self, timeout_s: float) -> dict[str, Any]:
        """The same of a producer whose records all in-sync replicas have, or that says so within `timeout_s`."""
        return {
            **self.options(),
            "acks": "all",
            "enable.idempotence": True,
            "message.timeout.ms": int(timeout_s * 1000),
            "message.max.bytes": _RECORD_MAX_BYTES,
            "linger.ms": 5,
        }


def told(error: KafkaError) -> str:
    """An error with the code that the API has for it."""
    match error.code():
        case KafkaError._AUTHENTICATION | KafkaError.SASL_AUTHENTICATION_FAILED:
            return f"FSS.1116: the broker does not take the user and the password: {error.str()}"
        case KafkaError.UNKNOWN_TOPIC_OR_PART | KafkaError._UNKNOWN_TOPIC:
            return f"FSS.1111: there is no such topic: {error.str()}"
        case KafkaError.TOPIC_AUTHORIZATION_FAILED | KafkaError.GROUP_AUTHORIZATION_FAILED:
            return f"FSS.1117: the broker does not let this user in there: {error.str()}"
        case (
            KafkaError._TRANSPORT | KafkaError._ALL_BROKERS_DOWN | KafkaError._RESOLVE | KafkaError._TIMED_OUT
            | KafkaError._MSG_TIMED_OUT
        ):  # fmt: skip
            return f"{CONNECTING}the brokers cannot be reached: {error.str()}"
        case _:
            return f"FSS.1117: {error.str()}"
