"""Python side of Pharos."""
