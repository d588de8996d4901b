"""Other nodes: asking them, comparing states with them, taking over a snapshot."""
