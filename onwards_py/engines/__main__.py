"""``python -m onwards_py.engines``: one model's process. The proxy starts it; it cannot be used by hand."""

from onwards_py.engines.runtime import run

if __name__ == "__main__":
    run()
