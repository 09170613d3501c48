"""Speed beside other servers, in one run on one machine: figures of different runs say nothing about each other.

`make bench`, or `python -m bench --help`. Results are kept in `bench/results/`.
"""
