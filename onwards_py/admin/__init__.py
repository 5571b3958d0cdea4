"""The admin port: metrics and health, apart from the port that clients see.

Lives here: the aiohttp application for operators. May not: change configuration (there is no write API), or be
reachable through the client port.
"""
