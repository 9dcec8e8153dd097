"""Dead letters: messages that a function failed on, written to another topic. Blocks; for threads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from fgd_kafka.connection import Brokers, Unreachable

_SEND_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class LetterBox:
    """Where they go."""

    brokers: Brokers
    topic: str


class DeadLetters:
    """A producer for one topic."""

    def __init__(self, box: LetterBox) -> None:
        self._topic = box.topic
        self._producer = Producer(box.brokers.producer_options(_SEND_S))

    def send(self, messages: Sequence[Message], error: str) -> int:
        """Writes messages with their keys and headers; headers of ours say where they come from. Gives how many of them
        the topic takes never, as they are too large for it.

        Raises:
            Unreachable: some of them are not written; write all of them again later.
        """
        failed: list[KafkaError] = []

        def told(problem: KafkaError | None, message: Message) -> None:
            if problem is not None:
                failed.append(problem)

        for message in messages:
            ours = {
                "fgd-topic": message.topic(), "fgd-partition": message.partition(), "fgd-offset": message.offset(),
                "fgd-error": error,
            }  # fmt: skip
            added: list[Any] = [(name, str(value).encode()) for name, value in ours.items()]
            theirs: Any = message.headers() or []
            try:
                self._producer.produce(
                    self._topic, message.value(), message.key(), headers=[*theirs, *added], on_delivery=told
                )
            except KafkaException as problem:
                failed.append(problem.args[0])
            except BufferError as problem:
                raise Unreachable(f"dead letters wait to be written to {self._topic}") from problem
        self._producer.flush(_SEND_S + 1)
        refused = [one for one in failed if one.code() == KafkaError.MSG_SIZE_TOO_LARGE]
        if len(failed) > len(refused) or len(self._producer):
            why = next((one.str() for one in failed if one not in refused), "no answer")
            raise Unreachable(f"FSS.1117: dead letters cannot be written to {self._topic}: {why}")
        return len(refused)
