"""Routing: from a request and a principal to an ordered choice of providers.

Pure. Contains: the model lookup, the route table and its list of models, the balancer, health, the fallback plan.
May not: open sockets, read clocks or draw random numbers by itself.
"""
