"""``python -m onwards_py``: the same as the console script."""

from onwards_py.cli import main

raise SystemExit(main())
