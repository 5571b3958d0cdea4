"""The admin port: metrics and health, apart from the port that clients see.

Lives here: the pages for operators, served through a lane of their own. May not: change configuration (there is no
write API), or be reachable through the client port.
"""
