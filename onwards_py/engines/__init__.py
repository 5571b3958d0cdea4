"""Local models: programs that run one model each, in separate processes (``python -m onwards_py.engines``).

Contains: the code of such a process, the search for model files, and the protocol with the proxy. May not: use
targets, pools or anything else of the proxy.
"""
