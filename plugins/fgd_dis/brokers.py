"""From a stream of the settings to its brokers."""

from fgd.plugin import Stream
from fgd_kafka.connection import Brokers


def brokers_of(stream: Stream) -> Brokers:
    """Reads the stream's files, so it blocks.

    Raises:
        BadStream: one of them cannot be used.
    """
    return Brokers(
        addresses=stream.brokers,
        user=stream.user,
        password=stream.password(),
        mechanism=stream.mechanism,
        tls=stream.tls,
        authority=stream.authority(),
        check_hostname=stream.check_hostname,
    )
