"""People at work on a real drive for an hour: `python -m tests.soak`, or `make soak`."""
