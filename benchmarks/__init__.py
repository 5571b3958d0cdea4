"""Side-by-side runs of onwards_py and its peers on one machine; see README.md.

Linux only: CPU time and memory are read from ``/proc``. All load goes to 127.0.0.1 and is bounded
in count; every process that is started here is stopped here.
"""
