"""Routing: from a model name and a principal to an ordered choice of providers.

Pure. Contains: the route table, the balancer, health and the fallback plan. May not: open sockets, read clocks or
draw random numbers by itself.
"""
