"""What all APIs share: requests, turns, deltas, failures, policy, and the machine that joins a reader with a writer.

No module here imports an API's package; `pipeline` joins the machine with bytes.
"""
