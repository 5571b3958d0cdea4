"""The admin port: metrics, health and status, separate from the client port.

Contains: the pages for operators, served by a lane of their own, and the client for them. May not: change the
configuration (there is no write API), or be reachable through the client port.
"""
