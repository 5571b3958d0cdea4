"""Routing: from a request and a principal to an ordered choice of providers.

Pure. Contains: the model lookup, the route table, the balancer, health and the fallback plan. May not: open sockets,
read clocks or draw random numbers by itself.
"""
