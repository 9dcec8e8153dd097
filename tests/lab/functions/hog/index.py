"""Uses more memory than it may, if the event says so."""


def handler(event: dict[str, int], context: object) -> dict[str, int]:
    blocks: list[bytes] = []
    for _ in range(event.get("mib", 1)):
        blocks.append(b"x" * 1048576)
    return {"blocks": len(blocks)}
