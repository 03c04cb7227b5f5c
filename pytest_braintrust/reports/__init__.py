"""Show what a run came to: each module renders a `RunReport` and computes nothing."""
