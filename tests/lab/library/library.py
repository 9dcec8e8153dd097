"""What a function imports from its dependency."""

WORD = "shared"
