"""Local models: the programs that run one each, in processes of their own (``python -m onwards_py.engines``).

Lives here: what happens inside such a process, how a model is found, and the contract with the proxy that starts it.
May not: know targets, pools or anything else of the proxy.
"""
