"""How fast instances are made: 100 requests at once for a function whose instances take one at a time and are held."""

from bench.host import report, say
from bench.node import HOLD, burst, node

COUNT = 100


def main() -> None:
    with node() as (daemon, client):
        urn = client.deploy("hold", HOLD, timeout=30)
        burst(daemon, client, urn, 1, 0.1)
        for hold_s in (3.0, 12.0):
            say(f"creation: {COUNT} at once, held for {hold_s} s")
            other = client.deploy(f"hold-{int(hold_s)}", HOLD, timeout=30)
            start, begun = burst(daemon, client, other, COUNT, hold_s)
            if len(begun) == COUNT:  # held long enough that no instance took a second request
                break
        length_s = begun[-1] - start
        report(
            "creation",
            {
                "instances": len(begun),
                "seconds": round(length_s, 3),
                "per_s": round(len(begun) / length_s, 1),
                "first_ms": round((begun[0] - start) * 1e3, 1),
            },
        )


if __name__ == "__main__":
    main()
