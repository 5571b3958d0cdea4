"""The common model of all APIs: requests, turns, deltas, failures, policy, and the machine of an answer.

No module here imports an API's package; `pipeline` joins the machine with bytes.
"""
