"""Compare two runs: which scores moved, by how much, and whether by more than noise.

Reads what the store says of two experiments and answers plain data; `run.compare` is
the door. Numbers come from `pytest_braintrust.statistics`.
"""
