"""The node's ledger: memory that instances are promised, and how many there may be."""


class Budget:
    """Capacity is a token that is given back: every instance holds one of its memory size."""

    __slots__ = ("instances", "instances_max", "memory_max_mib", "promised_mib")

    def __init__(self, memory_max_mib: int, instances_max: int) -> None:
        self.memory_max_mib = memory_max_mib
        self.instances_max = instances_max
        self.promised_mib = 0
        self.instances = 0

    def take(self, memory_mib: int) -> bool:
        """Takes a token if there is room. The first instance always gets one, however large."""
        if self.instances >= self.instances_max:
            return False
        if self.instances and self.promised_mib + memory_mib > self.memory_max_mib:
            return False
        self.instances += 1
        self.promised_mib += memory_mib
        return True

    def would_fit(self, memory_mib: int, leaving_mib: int, leaving: int) -> bool:
        """Whether there will be room once instances with that much memory have gone."""
        if self.instances - leaving >= self.instances_max:
            return False
        return self.instances == leaving or self.promised_mib - leaving_mib + memory_mib <= self.memory_max_mib

    def grow(self, by_mib: int) -> bool:
        """Makes a token larger if there is room; the only instance may grow to any size."""
        if self.instances > 1 and self.promised_mib + by_mib > self.memory_max_mib:
            return False
        self.promised_mib += by_mib
        return True

    def shrink(self, by_mib: int) -> None:
        """Makes a token smaller."""
        self.promised_mib -= by_mib

    def give_back(self, memory_mib: int) -> None:
        self.instances -= 1
        self.promised_mib -= memory_mib
